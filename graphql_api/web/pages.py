"""The two web pages: the dashboard at `/` and GraphiQL at `/graphql`. No page contains a credential.

`npm run build` bundles each page from its folder. Without this build, `/` explains how to build the dashboard, and
GraphiQL loads its packages from a CDN. The page pins each package by version and hash.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route

from graphql_api.web.assets import Assets

DASHBOARD_FOLDER = Path(__file__).parent / "dashboard"
GRAPHIQL_FOLDER = Path(__file__).parent / "graphiql"

_EMPTY_START = '<script type="application/json" id="start">null</script>'

_Policy = Mapping[str, list[str]]
_STRICT_POLICY: _Policy = {
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

_GRAPHIQL_POLICY = {
    **_STRICT_POLICY,
    "worker-src": ["'self'"],
    "style-src": ["'self'", "'unsafe-inline'"],
    "font-src": ["'self'", "data:"],
    "img-src": ["'self'", "data:"],
}
"""GraphiQL's editors run in workers and set inline styles."""


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
        policy: _Policy,
        sample: str,
        provider: str | None,
    ) -> None:
        is_bundled = (folder / "dist" / "page.html").is_file()
        html = folder / "dist" / "page.html" if is_bundled else folder / "page" / fallback
        start = json.dumps({"sample": sample, "provider": provider}).replace("<", "\\u003c")
        self._html = html.read_text(encoding="utf-8").replace(_EMPTY_START, _EMPTY_START.replace("null", start))
        self._headers = {  # a middleware adds the headers of all responses
            "content-security-policy": _policy_header(policy, self._html),
            "cross-origin-opener-policy": "same-origin",
        }
        files = folder / "dist" / "assets" if is_bundled else folder / "page"
        self.route = Route(path, self.respond)
        self.assets = Mount(f"{path.rstrip('/')}/assets", Assets(files, self._headers, is_immutable=is_bundled))

    async def respond(self, request: Request) -> Response:
        """Return the page, with a sample for its examples."""
        del request
        return HTMLResponse(self._html, headers=self._headers | {"cache-control": "no-store", "vary": "Accept"})


def dashboard_page(fixture: Path, folder: Path = DASHBOARD_FOLDER, *, provider: str | None = None) -> WebPage:
    """Return the dashboard. Its example button submits the sample in the file `fixture`.

    `provider` is the host of the identity provider at which users can sign in.
    """
    return WebPage(
        "/",
        folder,
        fallback="missing.html",
        policy=_STRICT_POLICY,
        sample=fixture.read_text(encoding="utf-8"),
        provider=provider,
    )


def graphiql_page(fixture: Path, folder: Path = GRAPHIQL_FOLDER, *, provider: str | None = None) -> WebPage:
    """Return GraphiQL. The variables of its tab SubmitSample contain the sample in the file `fixture`."""
    return WebPage(
        "/graphql",
        folder,
        fallback="cdn.html",
        policy=_GRAPHIQL_POLICY,
        sample=fixture.read_text(encoding="utf-8"),
        provider=provider,
    )


def _policy_header(policy: _Policy, html: str) -> str:
    """Return the policy as a header value. Add the URLs of scripts and styles that the HTML loads from other hosts."""
    scripts, styles = (re.findall(rf'https://[^"]+\.{kind}(?=")', html) for kind in ("js", "css"))
    extended = {
        **policy,
        "script-src": [*policy["script-src"], *scripts],
        "style-src": [*policy["style-src"], *styles],
    }
    return "; ".join(" ".join([name, *sources]) for name, sources in extended.items())
