"""GraphiQL: what `/graphql` shows to a browser.

The page can carry the key of the embedded stack, so that its first query runs at a click. The trap is who
else asks for the page: the key is in it only where the client's address and the Host header are both loopback
(any site can give its own name the address 127.0.0.1, but the Host header tells) and no proxy forwarded it.

`npm run build` bundles the page into `graphiql/dist`. Without that folder (no npm at set-up) the page takes
its packages from a CDN, each pinned by version and hash.
"""

import json
import re
from ipaddress import IPv6Address, ip_address
from pathlib import Path

import anyio
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parent / "graphiql"
EMPTY_START = '<script type="application/json" id="start">null</script>'
LOOPBACK_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.IGNORECASE)
PROXY_HEADERS = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


class Explorer:
    """The page, its assets, and who is handed the local key with it."""

    def __init__(self, local_key_file: Path | None, fixture: Path, folder: Path = FOLDER) -> None:
        self._local_key_file = local_key_file
        self._sample = fixture.read_text(encoding="utf-8")
        bundled = (folder / "dist" / "page.html").is_file()
        page = folder / "dist" / "page.html" if bundled else folder / "page" / "cdn.html"
        self._html = page.read_text(encoding="utf-8")
        self._headers = _headers(self._html)
        assets = Assets(folder / "dist" / "assets" if bundled else folder / "page", self._headers, bundled)
        self.routes: list[BaseRoute] = [Mount("/graphql/assets", assets)]

    async def page(self, request: Request) -> Response:
        """Answer GET /graphql to a browser."""
        start = json.dumps({"sample": self._sample, "key": await self._key_for(request)})
        script = EMPTY_START.replace("null", start.replace("<", "\\u003c"))
        html = self._html.replace(EMPTY_START, script)
        return HTMLResponse(html, headers=self._headers | {"cache-control": "no-store", "vary": "Accept"})

    async def _key_for(self, request: Request) -> str | None:
        if self._local_key_file is None or not _is_local(request):
            return None
        try:
            return (await anyio.Path(self._local_key_file).read_text(encoding="utf-8")).strip() or None
        except FileNotFoundError:
            return None


class Assets(StaticFiles):
    """Bundled files have a hash of their content in their name and never change."""

    def __init__(self, directory: Path, headers: dict[str, str], immutable: bool) -> None:
        super().__init__(directory=directory)
        caching = "public, max-age=31536000, immutable" if immutable else "no-cache"
        self._headers = headers | {"cache-control": caching}

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Give the file with the page's own headers: a worker is bound by those of its script."""
        response = await super().get_response(path, scope)
        response.headers.update(self._headers)
        return response


def _headers(html: str) -> dict[str, str]:
    """Allow what the page names and nothing else. Its editors set styles inline; no script is inline."""
    scripts, styles = (re.findall(rf'https://[^"]+\.{kind}(?=")', html) for kind in ("js", "css"))
    policy = {
        "default-src": ["'none'"],
        "script-src": ["'self'", *scripts],
        "worker-src": ["'self'"],
        "connect-src": ["'self'"],
        "style-src": ["'self'", "'unsafe-inline'", *styles],
        "font-src": ["'self'", "data:"],
        "img-src": ["'self'", "data:"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
    return {
        "content-security-policy": "; ".join(" ".join([name, *sources]) for name, sources in policy.items()),
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
    }


def _is_local(request: Request) -> bool:
    hosts = request.headers.getlist("host")
    if len(hosts) != 1 or not LOOPBACK_HOST.fullmatch(hosts[0]):
        return False
    if any(name in request.headers for name in PROXY_HEADERS):
        return False
    try:
        address = ip_address(request.client.host if request.client else "")
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_loopback
