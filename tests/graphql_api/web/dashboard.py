"""The dashboard in a real browser."""

from pathlib import Path

from tests.graphql_api.web.browser import Browser

AXE = Path(__file__).parents[1] / "audit" / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = {"serious", "critical"}


class Dashboard(Browser):
    """The page, and what its user reads, drops and presses."""

    def open(self, url: str) -> None:
        """Go to the page and wait until it is live."""
        self.go_to(url)
        self.wait_until_live()

    def wait_until_live(self) -> None:
        """Wait for the state of the connection that its user sees."""
        self.wait_for(lambda: self.text(".connection") == "Live")

    def drop(self, file: Path) -> None:
        """Drag a file from outside onto the page."""
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.command("Input.dispatchDragEvent", type=kind, x=400, y=400, data=data)

    def results(self) -> list[str]:
        """Return the ids of the results in the table."""
        return self.attributes("tbody tr", "data-id")

    def arrived(self) -> int:
        """Return how many results the page says came since it was opened."""
        return int(self.attributes("[data-arrived]", "data-arrived")[0])

    def watched(self) -> list[str]:
        """Return the ids of the results that subscriptions have brought, as often as they did."""
        return [
            message["payload"]["data"]["results"]["node"]["id"]
            for message in self.received()
            if message["type"] == "next"
        ]

    def painted(self, canvas: str, *, like: str) -> list[float]:
        """Return how far to the right, from 0 to 1, a canvas that can be seen has the colour of an element's ground."""
        script = """
            const canvas = document.querySelector(arguments[0]);
            if (!canvas.checkVisibility({ visibilityProperty: true })) return [];
            const { data, width } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            const ground = getComputedStyle(document.querySelector(arguments[1])).backgroundColor;
            const [red, green, blue] = ground.match(/\\d+/g).map(Number);
            const isIt = (at) => data[at] === red && data[at + 1] === green && data[at + 2] === blue;
            const pixels = Array.from({ length: data.length / 4 }, (_, pixel) => pixel);
            return pixels.filter((pixel) => isIt(pixel * 4)).map((pixel) => (pixel % width) / width);
        """
        painted: list[float] = self.run(script, canvas, like)
        return painted

    def prefer(self, scheme: str) -> None:
        """Have a system that is light or dark."""
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def faults(self) -> list[str]:
        """Return the serious faults that axe-core finds for those who see, hear or move differently."""
        self.run(AXE.read_text(encoding="utf-8"))
        found = self.run_later("axe.run().then(arguments[0], (error) => arguments[0]({ error: String(error) }))")
        assert "error" not in found, found
        return [
            f"{each['id']}: {node['html']} {node['failureSummary']}"
            for each in found["violations"]
            if each["impact"] in SERIOUS
            for node in each["nodes"]
        ]
