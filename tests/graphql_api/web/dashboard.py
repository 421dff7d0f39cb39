"""The dashboard in a real browser."""

import json
from pathlib import Path

from tests.graphql_api.web.browser import Browser
from tests.stack import Stack

AXE = Path(__file__).parents[1] / "audit" / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = {"serious", "critical"}


class Dashboard(Browser):
    """The page with its controls and displayed data."""

    def open(self, stack: Stack, path: str = "/", key: str | None = None) -> None:
        """Sign in, navigate to the page and wait until it is live."""
        self.sign_in(stack, key)
        self.go_to(f"{stack.url}{path}")
        self.wait_until_live()

    def wait_until_live(self) -> None:
        """Wait until the page displays that it is connected."""
        self.wait_for(lambda: self.text(".connection") == "Live")

    def drop(self, file: Path) -> None:
        """Drag a file onto the page and drop it."""
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.command("Input.dispatchDragEvent", type=kind, x=400, y=400, data=data)

    def results(self) -> list[str]:
        """Return the ids of the results in the table."""
        return self.attributes(".results tbody tr", "data-id")

    def arrived(self) -> int:
        """Return the displayed number of results that arrived since the page was opened or the filter was set."""
        return int(self.attributes("[data-arrived]", "data-arrived")[0])

    def watched(self) -> list[str]:
        """Return the ids of all results that subscriptions delivered, duplicates included."""
        return [
            message["payload"]["data"]["results"]["node"]["id"]
            for message in self.received()
            if message["type"] == "next" and "results" in message["payload"]["data"]
        ]

    def painted(self, canvas: str, *, like: str, axis: str = "x") -> list[float]:
        """Return the x or y positions, from 0 to 1, where a visible canvas has the background color of an element."""
        script = """
            const canvas = document.querySelector(arguments[0]);
            if (!canvas.checkVisibility({ visibilityProperty: true })) return [];
            const { data, width, height } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            const background = getComputedStyle(document.querySelector(arguments[1])).backgroundColor;
            const [red, green, blue] = background.match(/\\d+/g).map(Number);
            const matches = (at) => data[at] === red && data[at + 1] === green && data[at + 2] === blue;
            const pixels = Array.from({ length: data.length / 4 }, (_, pixel) => pixel);
            const position = (pixel) =>
                arguments[2] === 'x' ? (pixel % width) / width : Math.floor(pixel / width) / height;
            return pixels.filter((pixel) => matches(pixel * 4)).map(position);
        """
        painted: list[float] = self.run(script, canvas, like, axis)
        return painted

    def prefer(self, scheme: str) -> None:
        """Emulate a system with a light or a dark color scheme."""
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def resize(self, width: int, height: int = 1000, *, ratio: int = 2) -> None:
        """Change the size of the window. A CSS pixel is as wide as `ratio` pixels of the screen."""
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=ratio, mobile=False
        )

    def throttle(self, *, bytes_per_second: int) -> None:
        """Limit how fast the page sends. The limit -1 is none."""
        self._limit_network(uploadThroughput=bytes_per_second)

    def set_offline(self, is_offline: bool) -> None:
        """Disconnect the page from the network. Open WebSockets stay open."""
        self._limit_network(offline=is_offline)

    def replace_responses(self, words: str, response: object) -> None:
        """While `isReplaced` is set, let pages receive this response to operations that contain these words."""
        script = """
            window.isReplaced = true;
            const original = window.fetch;
            window.fetch = (address, options) =>
                window.isReplaced && String(options?.body).includes(%s)
                    ? Promise.resolve(Response.json(%s))
                    : original(address, options);
        """
        source = script % (json.dumps(words), json.dumps(response))
        self.command("Page.addScriptToEvaluateOnNewDocument", source=source)

    def violations(self) -> list[str]:
        """Return the serious accessibility violations that axe-core finds."""
        self.run(AXE.read_text(encoding="utf-8"))
        report = self.run_async("axe.run().then(arguments[0], (error) => arguments[0]({ error: String(error) }))")
        assert "error" not in report, report
        return [
            f"{each['id']}: {node['html']} {node['failureSummary']}"
            for each in report["violations"]
            if each["impact"] in SERIOUS
            for node in each["nodes"]
        ]

    def _limit_network(self, **limits: object) -> None:
        unlimited = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.command("Network.emulateNetworkConditions", **unlimited | limits)
