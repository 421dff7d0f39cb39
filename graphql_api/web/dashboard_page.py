"""The dashboard: what `/` shows to a browser.

`npm run build` bundles it into `dashboard/dist`. Without that folder (no npm at set-up) the page says so and
shows the way to GraphiQL.
"""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from graphql_api.web.web_page import STRICT, Assets, WebPage

FOLDER = Path(__file__).parent / "dashboard"


class Home:
    """The page and its assets."""

    def __init__(self, local_key_file: Path | None, fixture: Path, folder: Path = FOLDER) -> None:
        self._sample = fixture.read_text(encoding="utf-8")
        bundled = (folder / "dist" / "page.html").is_file()
        html = folder / "dist" / "page.html" if bundled else folder / "page" / "missing.html"
        self._page = WebPage(html, STRICT, local_key_file if bundled else None)
        files = folder / "dist" / "assets" if bundled else folder / "page"
        self.routes: list[BaseRoute] = [
            Route("/", self._respond),
            Mount("/assets", Assets(files, self._page.headers, immutable=bundled)),
        ]

    async def _respond(self, request: Request) -> Response:
        return await self._page.respond(request, {"sample": self._sample})
