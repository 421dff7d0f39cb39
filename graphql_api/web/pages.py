"""The two web pages: the dashboard at `/` and GraphiQL at `/graphql`.

`npm run build` bundles each page from its folder. Without this build, `/` explains how to build the dashboard, and
GraphiQL loads its packages from a CDN. The page pins each package by version and hash.
"""

from pathlib import Path

from graphql_api.web.web_page import STRICT_POLICY, WebPage

DASHBOARD_FOLDER = Path(__file__).parent / "dashboard"
GRAPHIQL_FOLDER = Path(__file__).parent / "graphiql"

_GRAPHIQL_POLICY = {
    **STRICT_POLICY,
    "worker-src": ["'self'"],
    "style-src": ["'self'", "'unsafe-inline'"],
    "font-src": ["'self'", "data:"],
    "img-src": ["'self'", "data:"],
}
"""GraphiQL's editors run in workers and set inline styles."""


def dashboard_page(fixture: Path, folder: Path = DASHBOARD_FOLDER, *, provider: str | None = None) -> WebPage:
    """Return the dashboard. Its example button submits the sample in the file `fixture`.

    `provider` is the host of the identity provider at which users can sign in.
    """
    return WebPage(
        "/",
        folder,
        fallback="missing.html",
        policy=STRICT_POLICY,
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
