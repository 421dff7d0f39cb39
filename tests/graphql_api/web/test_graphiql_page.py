"""The response to `GET /graphql` from a browser, tested over HTTP without a browser."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware

from graphql_api.budgets.budgets import Budgets
from graphql_api.configuration.limits import Limits
from graphql_api.credential_errors import FOR_KEYS
from graphql_api.endpoints.middleware.cross_origin import allow_origins
from graphql_api.endpoints.middleware.exception_handlers import ErrorResponder
from graphql_api.endpoints.middleware.request_recorder import RequestRecorder
from graphql_api.web.pages import GRAPHIQL_FOLDER, WebPage, graphiql_page

FIXTURE = Path(__file__).parents[3] / "fixture" / "sample.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the page's folder as it is before anything is built."""
    return shutil.copytree(
        GRAPHIQL_FOLDER, tmp_path / "graphiql", ignore=shutil.ignore_patterns("node_modules", "dist")
    )


async def get(page: WebPage, path: str = "/graphql") -> httpx.Response:
    """Return the response to a browser."""
    routes = [page.route, page.assets]
    services = SimpleNamespace(budgets=Budgets(Limits()))
    recorder = Middleware(RequestRecorder, routes, services, ErrorResponder(FOR_KEYS), allow_origins(()))
    app = Starlette(routes=routes, middleware=[recorder])
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        return await client.get(path)


async def test_a_sample_cannot_end_its_script_element(tmp_path: Path) -> None:
    """The page carries the sample's text as data."""
    sample = tmp_path / "sample.json"
    sample.write_text('{"note": "</script><script>alert(1)</script>"}')

    html = await get(graphiql_page(sample))

    assert "<script>alert" not in html.text


async def test_page_is_not_cached_framed_or_readable_by_other_origins() -> None:
    """A frame around the page could make a user click in it."""
    headers = (await get(graphiql_page(FIXTURE))).headers

    assert headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers


async def test_bundled_page_loads_from_its_own_host_only(folder: Path) -> None:
    """Browsers cache its files forever: a file name contains the hash of the content."""
    assets = folder / "dist" / "assets"
    assets.mkdir(parents=True)
    (assets / "npm-1A2B.js").write_text("// bundled")
    shutil.copy(folder / "page" / "npm.html", folder / "dist" / "page.html")
    page = graphiql_page(FIXTURE, folder)

    html = await get(page)
    asset = await get(page, "/graphql/assets/npm-1A2B.js")

    assert "script-src 'self';" in html.headers["content-security-policy"]
    assert "http" not in html.headers["content-security-policy"]
    assert asset.text == "// bundled"
    assert asset.headers["x-content-type-options"] == "nosniff"
    assert "immutable" in asset.headers["cache-control"]
    assert asset.headers["content-security-policy"] == html.headers["content-security-policy"]


async def test_page_without_a_bundle_pins_its_packages_by_version_and_hash(folder: Path) -> None:
    """The browser rejects any other content from the CDN, and the policy allows no other address."""
    page = graphiql_page(FIXTURE, folder)

    html = await get(page)
    entry = await get(page, "/graphql/assets/cdn.js")

    foreign = re.findall(r'<[^>]+"(https://[^"]+)"[^>]*>', html.text)
    hashed = re.findall(
        r'<[^>]+"(https://[^"]+@\d+\.\d+\.\d+/[^"]+)" integrity="sha384-[^"]{64}" crossorigin>', html.text
    )
    assert foreign
    assert foreign == hashed
    policy = html.headers["content-security-policy"]
    assert sorted(re.findall(r"https://[^ ;]+", policy)) == sorted(foreign)
    assert entry.headers["cache-control"] == "no-cache"
