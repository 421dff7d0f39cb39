"""A page for browsers, as npm bundled it, and who is handed the local key with it.

The page can carry the key of the embedded stack, so that it works at once. The trap is who else asks for the
page: the key is in it only where the client's address and the Host header are both loopback (any site can give
its own name the address 127.0.0.1, but the Host header tells) and no proxy forwarded it.
"""

import json
import os
import re
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from pathlib import Path

import anyio
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import PathLike, StaticFiles
from starlette.types import Scope

EMPTY_START = '<script type="application/json" id="start">null</script>'
LOOPBACK_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.IGNORECASE)
PROXY_HEADERS = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")

Policy = Mapping[str, list[str]]
STRICT: Policy = {
    "default-src": ["'none'"],
    "script-src": ["'self'"],
    "style-src": ["'self'"],
    "connect-src": ["'self'"],
    "font-src": ["'self'"],
    "img-src": ["'self'"],
    "base-uri": ["'none'"],
    "form-action": ["'none'"],
    "frame-ancestors": ["'none'"],
}
"""A page may ask its own host for files, and nobody for anything else; no script and no style is inline."""


class WebPage:
    """One page. `policy` is its Content-Security-Policy, `headers` are for its assets too."""

    def __init__(self, html: Path, policy: Policy, local_key_file: Path | None) -> None:
        self._html = html.read_text(encoding="utf-8")
        self._local_key_file = local_key_file
        self.headers = {
            "content-security-policy": "; ".join(" ".join([name, *sources]) for name, sources in policy.items()),
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
        }

    async def respond(self, request: Request, start: Mapping[str, object]) -> Response:
        """Answer with the page and what it starts with: `start`, and the key for whom it is."""
        data = json.dumps({**start, "key": await self._key_for(request)}).replace("<", "\\u003c")
        html = self._html.replace(EMPTY_START, EMPTY_START.replace("null", data))
        return HTMLResponse(html, headers=self.headers | {"cache-control": "no-store", "vary": "Accept"})

    async def _key_for(self, request: Request) -> str | None:
        if self._local_key_file is None or not _is_local(request):
            return None
        try:
            return (await anyio.Path(self._local_key_file).read_text(encoding="utf-8")).strip() or None
        except FileNotFoundError:
            return None


class Assets(StaticFiles):
    """The files of a page. Bundled ones have a hash of their content in their name and never change."""

    def __init__(self, directory: Path, headers: dict[str, str], *, immutable: bool) -> None:
        super().__init__(directory=directory)
        caching = "public, max-age=31536000, immutable" if immutable else "no-cache"
        self._headers = headers | {"cache-control": caching, "vary": "Accept-Encoding"}
        self._compressed = {str(path) for path in directory.resolve().rglob("*.gz")}

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Give the file with the page's own headers: a worker is bound by those of its script."""
        response = await super().get_response(path, scope)
        response.headers.update(self._headers)
        return response

    def file_response(
        self, full_path: PathLike, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Give the file as the build compressed it, where it did and the browser takes that."""
        compressed = f"{full_path}.gz"
        if compressed not in self._compressed or "gzip" not in Headers(scope=scope).get("accept-encoding", ""):
            return super().file_response(full_path, stat_result, scope, status_code)
        response = super().file_response(compressed, Path(compressed).stat(), scope, status_code)
        response.headers["content-encoding"] = "gzip"
        return response


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
