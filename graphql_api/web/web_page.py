"""A web page and its assets.

A page can contain the API key of the stack on this machine, so that the page works without a login. The server puts the
key into the page only if all of these conditions hold:

- the client's address is a loopback address;
- the `Host` header is a loopback name, because any site can point its own name at 127.0.0.1 (DNS rebinding);
- no proxy forwarded the request.
"""

import json
import re
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from pathlib import Path

import anyio
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route

from graphql_api.web.assets import Assets

EMPTY_START = '<script type="application/json" id="start">null</script>'
LOOPBACK_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.IGNORECASE)
PROXY_HEADERS = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")

Policy = Mapping[str, list[str]]
STRICT_POLICY: Policy = {
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
"""The page may load files only from its own host. Inline scripts and styles are forbidden."""


class WebPage:
    """The page at `path`, with its assets at `path`/assets.

    `npm run build` writes the page to `folder`/dist. If that folder does not exist, the server serves
    `folder`/page/`fallback` instead. `policy` is the Content-Security-Policy. This class adds the scripts and styles
    that the HTML loads from other hosts to the policy.
    """

    def __init__(
        self,
        path: str,
        folder: Path,
        *,
        fallback: str,
        policy: Policy,
        sample: str,
        local_key_file: Path | None,
    ) -> None:
        is_bundled = (folder / "dist" / "page.html").is_file()
        html = folder / "dist" / "page.html" if is_bundled else folder / "page" / fallback
        self._html = html.read_text(encoding="utf-8")
        self._sample = sample
        self._local_key_file = local_key_file
        self._headers = {
            "content-security-policy": _policy_header(policy, self._html),
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
        }
        files = folder / "dist" / "assets" if is_bundled else folder / "page"
        self.route = Route(path, self.respond)
        self.assets = Mount(f"{path.rstrip('/')}/assets", Assets(files, self._headers, is_immutable=is_bundled))

    async def respond(self, request: Request) -> Response:
        """Return the page with a sample and, for a client on this machine, the local key."""
        start = {"sample": self._sample, "key": await self._key_for(request)}
        data = json.dumps(start).replace("<", "\\u003c")
        html = self._html.replace(EMPTY_START, EMPTY_START.replace("null", data))
        return HTMLResponse(html, headers=self._headers | {"cache-control": "no-store", "vary": "Accept"})

    async def _key_for(self, request: Request) -> str | None:
        if self._local_key_file is None or not _is_local(request):
            return None
        try:
            return (await anyio.Path(self._local_key_file).read_text(encoding="utf-8")).strip() or None
        except FileNotFoundError:
            return None


def _policy_header(policy: Policy, html: str) -> str:
    """Return the policy as a header value. Add the URLs of scripts and styles that the HTML loads from other hosts."""
    scripts, styles = (re.findall(rf'https://[^"]+\.{kind}(?=")', html) for kind in ("js", "css"))
    extended = {
        **policy,
        "script-src": [*policy["script-src"], *scripts],
        "style-src": [*policy["style-src"], *styles],
    }
    return "; ".join(" ".join([name, *sources]) for name, sources in extended.items())


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
