"""The response to `GET /`, tested over HTTP without a browser."""

import gzip
import re
import shutil
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.staticfiles import StaticFiles

from graphql_api.web.pages import DASHBOARD_FOLDER, WebPage, dashboard_page

FIXTURE = Path("fixture/sample.json")
MAX_GZIPPED_BYTES = 150 * 1024


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the page's folder as it is before anything is built."""
    return shutil.copytree(
        DASHBOARD_FOLDER, tmp_path / "dashboard", ignore=shutil.ignore_patterns("node_modules", "dist")
    )


@pytest.fixture
def bundled(folder: Path) -> Path:
    """Return the page's folder as a build would leave it."""
    assets = folder / "dist" / "assets"
    assets.mkdir(parents=True)
    (assets / "main-1A2B.js").write_text("// bundled")
    shutil.copy(folder / "page" / "page.html", folder / "dist" / "page.html")
    return folder


async def get(page: WebPage, path: str = "/", host: str = "127.0.0.1:8000", **headers: str) -> httpx.Response:
    """Return the response to a client on this machine."""
    transport = httpx.ASGITransport(Starlette(routes=[page.route, page.assets]), client=("127.0.0.1", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await client.get(path, headers={"host": host, **named})


async def test_policy_forbids_inline_code_and_other_hosts(bundled: Path) -> None:
    """The page may load from its own host and talk to it, and nothing else."""
    page = dashboard_page(FIXTURE, bundled)

    html, asset = await get(page), await get(page, "/assets/main-1A2B.js")

    policy = html.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "immutable" in asset.headers["cache-control"]
    assert asset.headers["content-security-policy"] == policy


async def test_browsers_that_accept_gzip_receive_the_compressed_copy(bundled: Path) -> None:
    """Other clients receive the file itself, under the same name and type."""
    file = bundled / "dist" / "assets" / "main-1A2B.js"
    file.with_name("main-1A2B.js.gz").write_bytes(gzip.compress(file.read_bytes()))
    page = dashboard_page(FIXTURE, bundled)

    plain = await get(page, "/assets/main-1A2B.js", accept_encoding="identity")
    compressed = await get(page, "/assets/main-1A2B.js", accept_encoding="gzip, br")

    assert plain.text == compressed.text == "// bundled"
    assert "content-encoding" not in plain.headers
    assert compressed.headers["content-encoding"] == "gzip"
    assert plain.headers["content-type"] == compressed.headers["content-type"]
    assert compressed.headers["vary"] == "Accept-Encoding"


async def test_fallback_page_explains_the_missing_build_and_links_to_graphiql(folder: Path) -> None:
    """Without npm the page loads nothing from other hosts. Its script passes a sign-in link on to GraphiQL."""
    page = dashboard_page(FIXTURE, folder)

    html = await get(page)

    assert html.status_code == 200
    assert "was not built" in html.text
    assert '<a href="/graphql">' in html.text
    assert "https://" not in html.text
    assets = re.findall(r'(?:href|src)="(/assets/[^"]+)"', html.text)
    assert [(await get(page, asset)).status_code for asset in assets] == [200] * 3


@pytest.mark.skipif(not (DASHBOARD_FOLDER / "dist").exists(), reason="needs the page as npm builds it")
def test_the_gzipped_page_is_smaller_than_its_limit() -> None:
    """The limit holds for the gzipped size of the page with its font."""
    assets = [file for file in (DASHBOARD_FOLDER / "dist" / "assets").iterdir() if file.suffix != ".gz"]
    files = [DASHBOARD_FOLDER / "dist" / "page.html", *assets]

    assert sum(len(gzip.compress(file.read_bytes())) for file in files) < MAX_GZIPPED_BYTES


async def test_paths_are_not_looked_up_in_the_file_system(bundled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """StaticFiles looks up each folder of a path, and anyone can request a path with 15,000 folders."""
    page = dashboard_page(FIXTURE, bundled)
    monkeypatch.setattr(StaticFiles, "lookup_path", None)

    paths = ["main-1A2B.js", "a/" * 15_000, "%2e%2e/page.html", "", "main-1A2B.js/", "%00"]
    statuses = [(await get(page, f"/assets/{path}")).status_code for path in paths]

    assert statuses == [200, 404, 404, 404, 404, 404]
