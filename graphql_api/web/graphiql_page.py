"""GraphiQL: what `/graphql` shows to a browser.

`npm run build` bundles the page into `graphiql/dist`. Without that folder (no npm at set-up) the page takes
its packages from a CDN, each pinned by version and hash.
"""

import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount

from graphql_api.web.web_page import STRICT, Assets, Policy, WebPage

FOLDER = Path(__file__).parent / "graphiql"


class Explorer:
    """The page and its assets."""

    def __init__(self, local_key_file: Path | None, fixture: Path, folder: Path = FOLDER) -> None:
        self._sample = fixture.read_text(encoding="utf-8")
        bundled = (folder / "dist" / "page.html").is_file()
        html = folder / "dist" / "page.html" if bundled else folder / "page" / "cdn.html"
        self._page = WebPage(html, _policy(html.read_text(encoding="utf-8")), local_key_file)
        files = folder / "dist" / "assets" if bundled else folder / "page"
        self.routes: list[BaseRoute] = [
            Mount("/graphql/assets", Assets(files, self._page.headers, immutable=bundled)),
        ]

    async def page(self, request: Request) -> Response:
        """Answer GET /graphql to a browser."""
        return await self._page.respond(request, {"sample": self._sample})


def _policy(html: str) -> Policy:
    """Allow what the page names and nothing else. Its editors work in workers and set styles inline."""
    scripts, styles = (re.findall(rf'https://[^"]+\.{kind}(?=")', html) for kind in ("js", "css"))
    return {
        **STRICT,
        "script-src": ["'self'", *scripts],
        "worker-src": ["'self'"],
        "style-src": ["'self'", "'unsafe-inline'", *styles],
        "font-src": ["'self'", "data:"],
        "img-src": ["'self'", "data:"],
    }
