"""Who is handed the local key, and what the page may do, over HTTP alone."""

import re
import shutil
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from graphql_api.web.graphiql_page import FOLDER, Explorer

KEY = "dz_the-local-key"
FIXTURE = Path(__file__).parents[3] / "fixture" / "sample.json"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Return the file of a local key."""
    file = tmp_path / "api-key"
    file.write_text(f"{KEY}\n")
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the page's folder as it is before anything is built."""
    return shutil.copytree(FOLDER, tmp_path / "graphiql", ignore=shutil.ignore_patterns("node_modules", "dist"))


async def get(explorer: Explorer, path: str = "/graphql", address: str = "127.0.0.1", **headers: str) -> httpx.Response:
    """Return what a client at this address is answered."""
    app = Starlette(routes=[Route("/graphql", explorer.page), *explorer.routes])
    transport = httpx.ASGITransport(app, client=(address, 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        return await client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]:8000"])
@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
async def test_a_loopback_client_is_handed_the_key(key_file: Path, host: str, address: str) -> None:
    """The first query runs without anybody having to look for the key."""
    page = await get(Explorer(key_file, FIXTURE), address=address, host=host)

    assert KEY in page.text


@pytest.mark.parametrize(
    ("address", "headers"),
    [
        ("127.0.0.1", {"host": "rebound.example:8000"}),
        ("127.0.0.1", {"host": "localhost.rebound.example"}),
        ("127.0.0.1", {"host": "127.0.0.1.rebound.example"}),
        ("127.0.0.1", {"host": "rebound.example@localhost"}),
        ("127.0.0.1", {"host": ""}),
        ("192.0.2.7", {"host": "127.0.0.1:8000"}),
        ("::ffff:192.0.2.7", {"host": "localhost:8000"}),
        ("not an address", {"host": "localhost:8000"}),
        ("127.0.0.1", {"host": "localhost:8000", "x_forwarded_for": "192.0.2.7"}),
        ("127.0.0.1", {"host": "localhost:8000", "forwarded": "for=192.0.2.7"}),
        ("127.0.0.1", {"host": "localhost:8000", "via": "1.1 proxy"}),
    ],
)
async def test_nobody_else_is_handed_the_key(key_file: Path, address: str, headers: dict[str, str]) -> None:
    """A name that was rebound to 127.0.0.1, another machine, a proxy: the page comes without the key."""
    page = await get(Explorer(key_file, FIXTURE), address=address, **headers)

    assert page.status_code == 200
    assert KEY not in page.text


async def test_without_a_key_file_there_is_a_page_without_a_key(tmp_path: Path) -> None:
    """Neither a deployment without local key nor a key that is not there (yet) is a fault of the page."""
    for explorer in (Explorer(None, FIXTURE), Explorer(tmp_path / "missing", FIXTURE)):
        page = await get(explorer)

        assert '"key": null' in page.text


async def test_a_sample_cannot_end_the_script_that_it_is_in(tmp_path: Path) -> None:
    """The page carries the sample's text as data, whatever is in it."""
    sample = tmp_path / "sample.json"
    sample.write_text('{"note": "</script><script>alert(1)</script>"}')

    page = await get(Explorer(None, sample))

    assert "<script>alert" not in page.text


async def test_the_page_with_the_key_is_neither_stored_nor_framed_nor_read_by_others(key_file: Path) -> None:
    """No cache, no frame, no foreign origin gets hold of what the page carries."""
    headers = (await get(Explorer(key_file, FIXTURE))).headers

    assert headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers


async def test_a_bundled_page_may_ask_its_own_host_alone(folder: Path) -> None:
    """Scripts come from our own files only, and these can be kept for ever: their names change with them."""
    assets = folder / "dist" / "assets"
    assets.mkdir(parents=True)
    (assets / "npm-1A2B.js").write_text("// bundled")
    shutil.copy(folder / "page" / "npm.html", folder / "dist" / "page.html")
    explorer = Explorer(None, FIXTURE, folder)

    page = await get(explorer)
    asset = await get(explorer, "/graphql/assets/npm-1A2B.js")

    assert "script-src 'self';" in page.headers["content-security-policy"]
    assert "http" not in page.headers["content-security-policy"]
    assert asset.text == "// bundled"
    assert "immutable" in asset.headers["cache-control"]
    assert asset.headers["content-security-policy"] == page.headers["content-security-policy"]


async def test_without_a_bundle_the_page_names_its_packages_by_version_and_hash(folder: Path) -> None:
    """What the CDN serves is what was tried, or the browser refuses it; and nothing else may be loaded."""
    explorer = Explorer(None, FIXTURE, folder)

    page = await get(explorer)
    entry = await get(explorer, "/graphql/assets/cdn.js")

    foreign = re.findall(r'<[^>]+"(https://[^"]+)"[^>]*>', page.text)
    hashed = re.findall(
        r'<[^>]+"(https://[^"]+@\d+\.\d+\.\d+/[^"]+)" integrity="sha384-[^"]{64}" crossorigin>', page.text
    )
    assert foreign
    assert foreign == hashed
    policy = page.headers["content-security-policy"]
    assert sorted(re.findall(r"https://[^ ;]+", policy)) == sorted(foreign)
    assert entry.headers["cache-control"] == "no-cache"
