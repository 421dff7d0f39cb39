"""The two web pages: the dashboard at `/` and GraphiQL at `/graphql`.

`npm run build` bundles each page from its folder. Without npm, `/` says how to build the dashboard, and GraphiQL takes
its packages from a CDN, each pinned by version and hash.
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


def dashboard_page(local_key_file: Path | None, fixture: Path, folder: Path = DASHBOARD_FOLDER) -> WebPage:
    """Return the dashboard. `fixture` is the sample that its example button submits."""
    return WebPage(
        "/",
        folder,
        fallback="missing.html",
        policy=STRICT_POLICY,
        sample=fixture.read_text(encoding="utf-8"),
        local_key_file=local_key_file,
    )


def graphiql_page(local_key_file: Path | None, fixture: Path, folder: Path = GRAPHIQL_FOLDER) -> WebPage:
    """Return GraphiQL. `fixture` is the sample in the variables of its first tab."""
    return WebPage(
        "/graphql",
        folder,
        fallback="cdn.html",
        policy=_GRAPHIQL_POLICY,
        sample=fixture.read_text(encoding="utf-8"),
        local_key_file=local_key_file,
    )
