"""What `/` answers, over HTTP alone."""

import gzip
import re
import shutil
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from graphql_api.web.dashboard_page import FOLDER, Home

KEY = "dz_the-local-key"
FIXTURE = Path("fixture/sample.json")
MAX_GZIPPED_BYTES = 150 * 1024


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Return the file of a local key."""
    file = tmp_path / "api-key"
    file.write_text(f"{KEY}\n")
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the page's folder as it is before anything is built."""
    return shutil.copytree(FOLDER, tmp_path / "dashboard", ignore=shutil.ignore_patterns("node_modules", "dist"))


@pytest.fixture
def bundled(folder: Path) -> Path:
    """Return the page's folder as a build would leave it."""
    assets = folder / "dist" / "assets"
    assets.mkdir(parents=True)
    (assets / "main-1A2B.js").write_text("// bundled")
    shutil.copy(folder / "page" / "page.html", folder / "dist" / "page.html")
    return folder


async def get(home: Home, path: str = "/", host: str = "127.0.0.1:8000", **headers: str) -> httpx.Response:
    """Return what a client on this machine is answered."""
    transport = httpx.ASGITransport(Starlette(routes=home.routes), client=("127.0.0.1", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await client.get(path, headers={"host": host, **named})


async def test_the_key_is_handed_to_loopback_alone(key_file: Path, bundled: Path) -> None:
    """As with GraphiQL: whoever came by another name may have been led here by another site."""
    home = Home(key_file, FIXTURE, bundled)

    local, rebound = await get(home), await get(home, host="rebound.example:8000")

    assert KEY in local.text
    assert local.headers["cache-control"] == "no-store"
    assert rebound.status_code == 200
    assert KEY not in rebound.text


async def test_nothing_inline_and_nobody_else_is_allowed(bundled: Path) -> None:
    """The policy lets the page load from, and talk to, its own host, and do nothing else."""
    home = Home(None, FIXTURE, bundled)

    page, asset = await get(home), await get(home, "/assets/main-1A2B.js")

    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "immutable" in asset.headers["cache-control"]
    assert asset.headers["content-security-policy"] == policy


async def test_what_the_build_compressed_is_served_so(bundled: Path) -> None:
    """To whoever takes it; the others get the file itself, under the same name and type."""
    file = bundled / "dist" / "assets" / "main-1A2B.js"
    file.with_name("main-1A2B.js.gz").write_bytes(gzip.compress(file.read_bytes()))
    home = Home(None, FIXTURE, bundled)

    plain = await get(home, "/assets/main-1A2B.js", accept_encoding="identity")
    compressed = await get(home, "/assets/main-1A2B.js", accept_encoding="gzip, br")

    assert plain.text == compressed.text == "// bundled"
    assert "content-encoding" not in plain.headers
    assert compressed.headers["content-encoding"] == "gzip"
    assert plain.headers["content-type"] == compressed.headers["content-type"]
    assert compressed.headers["vary"] == "Accept-Encoding"


async def test_a_page_that_was_not_built_says_so_and_shows_the_way_to_graphiql(key_file: Path, folder: Path) -> None:
    """Without npm nothing is fetched from elsewhere, and the key stays where it is."""
    home = Home(key_file, FIXTURE, folder)

    page = await get(home)

    assert page.status_code == 200
    assert "was not built" in page.text
    assert '<a href="/graphql">' in page.text
    assert "https://" not in page.text
    assert KEY not in page.text
    for asset in re.findall(r'href="(/assets/[^"]+)"', page.text):
        assert (await get(home, asset)).status_code == 200


@pytest.mark.skipif(not (FOLDER / "dist").exists(), reason="needs the page as npm builds it")
def test_the_page_is_small() -> None:
    """All of it, its font included, as it travels when it is compressed."""
    assets = [file for file in (FOLDER / "dist" / "assets").iterdir() if file.suffix != ".gz"]
    files = [FOLDER / "dist" / "page.html", *assets]

    assert sum(len(gzip.compress(file.read_bytes())) for file in files) < MAX_GZIPPED_BYTES
