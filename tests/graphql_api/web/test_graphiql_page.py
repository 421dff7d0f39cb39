"""Which clients receive the local key, and what the policy allows, tested over HTTP without a browser."""

import re
import shutil
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from graphql_api.web.pages import GRAPHIQL_FOLDER, graphiql_page
from graphql_api.web.web_page import WebPage

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
    return shutil.copytree(
        GRAPHIQL_FOLDER, tmp_path / "graphiql", ignore=shutil.ignore_patterns("node_modules", "dist")
    )


async def get(page: WebPage, path: str = "/graphql", address: str = "127.0.0.1", **headers: str) -> httpx.Response:
    """Return the response to a client at this address."""
    app = Starlette(routes=[page.route, page.assets])
    transport = httpx.ASGITransport(app, client=(address, 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        return await client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]:8000"])
@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
async def test_loopback_clients_receive_the_key(key_file: Path, host: str, address: str) -> None:
    """The first query runs without a login."""
    html = await get(graphiql_page(key_file, FIXTURE), address=address, host=host)

    assert KEY in html.text


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
async def test_other_clients_do_not_receive_the_key(key_file: Path, address: str, headers: dict[str, str]) -> None:
    """A name that resolves to 127.0.0.1, another machine and a proxy receive the page without the key."""
    html = await get(graphiql_page(key_file, FIXTURE), address=address, **headers)

    assert html.status_code == 200
    assert KEY not in html.text


async def test_page_works_without_a_key_file(tmp_path: Path) -> None:
    """The page has no key if the deployment has none, or if the key is not created yet."""
    for page in (graphiql_page(None, FIXTURE), graphiql_page(tmp_path / "missing", FIXTURE)):
        html = await get(page)

        assert '"key": null' in html.text


async def test_a_sample_cannot_end_its_script_element(tmp_path: Path) -> None:
    """The page carries the sample's text as data."""
    sample = tmp_path / "sample.json"
    sample.write_text('{"note": "</script><script>alert(1)</script>"}')

    html = await get(graphiql_page(None, sample))

    assert "<script>alert" not in html.text


async def test_page_with_the_key_is_not_cached_framed_or_readable_by_other_origins(key_file: Path) -> None:
    """Caches, frames and other origins cannot read the key."""
    headers = (await get(graphiql_page(key_file, FIXTURE))).headers

    assert headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers


async def test_bundled_page_loads_from_its_own_host_only(folder: Path) -> None:
    """Browsers cache its files for ever: a file name contains the hash of the content."""
    assets = folder / "dist" / "assets"
    assets.mkdir(parents=True)
    (assets / "npm-1A2B.js").write_text("// bundled")
    shutil.copy(folder / "page" / "npm.html", folder / "dist" / "page.html")
    page = graphiql_page(None, FIXTURE, folder)

    html = await get(page)
    asset = await get(page, "/graphql/assets/npm-1A2B.js")

    assert "script-src 'self';" in html.headers["content-security-policy"]
    assert "http" not in html.headers["content-security-policy"]
    assert asset.text == "// bundled"
    assert "immutable" in asset.headers["cache-control"]
    assert asset.headers["content-security-policy"] == html.headers["content-security-policy"]


async def test_page_without_a_bundle_pins_its_packages_by_version_and_hash(folder: Path) -> None:
    """The browser rejects any other content from the CDN, and the policy allows no other address."""
    page = graphiql_page(None, FIXTURE, folder)

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
