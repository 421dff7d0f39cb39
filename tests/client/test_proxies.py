"""The client uses the proxy that the environment names, as other programs do."""

from pathlib import Path

import pytest
from aiohttp import web

from dropzone import AsyncClient, Receipt, UnexpectedResponse, Unreachable
from dropzone.transport.addresses import proxy_of
from tests.aiohttp_server import serving
from tests.client.conftest import run
from tests.client.limiting_proxy import LimitingProxy
from tests.ports import free_port
from tests.stack import Stack

URL = "http://dropzone.invalid"
SAMPLE = b'{"time_stamp":"2026-11-27T00:00:00Z","data":[1]}'


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxies of the machine that runs the tests."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


async def test_requests_go_through_the_proxy(stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The name of the server is known to the proxy only. A password in `~/.netrc` does not replace the key."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine dropzone.invalid login user password secret\n")
    netrc.chmod(0o600)
    key = stack.new_key("proxy")
    monkeypatch.setenv("NETRC", str(netrc))
    async with LimitingProxy(stack.url).running() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        async with AsyncClient(URL, key, retry_seconds=0) as client:
            receipt = await client.submit(SAMPLE)
            assert isinstance(receipt, Receipt)
            assert (await client.sample(receipt.id)).count == 1

    assert len(proxy.sizes) == 2


async def test_a_proxy_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address of the server is right, so the message must not only name the server."""
    port = free_port()
    monkeypatch.setenv("http_proxy", f"user:secret@127.0.0.1:{port}")
    async with AsyncClient(URL, "key", retry_seconds=0) as client:
        with pytest.raises(Unreachable) as error:
            await client.ping()
    assert str(error.value) == f"cannot connect to 127.0.0.1:{port}, the proxy for {URL}: Connection refused"


@pytest.mark.parametrize(
    ("proxy", "target"),
    [("http://user:secret@proxy.invalid:3128", f"proxy.invalid, the proxy for {URL}"), ("", f"the host of {URL}")],
)
async def test_a_host_that_is_not_found_is_named(monkeypatch: pytest.MonkeyPatch, proxy: str, target: str) -> None:
    """It is the host of the proxy or the host of the server."""
    monkeypatch.setenv("http_proxy", proxy)
    async with AsyncClient(URL, "key", retry_seconds=0) as client:
        for call in (client.ping, client.whoami, lambda: client.submit(SAMPLE)):
            with pytest.raises(Unreachable, match=f"^cannot find {target}: "):
                await call()


async def test_a_refusal_of_a_tunnel_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server with TLS is reached through a tunnel, which this proxy does not offer."""
    async with serving(web.Application()) as proxy:
        monkeypatch.setenv("https_proxy", proxy)
        async with AsyncClient("https://dropzone.invalid", "key", retry_seconds=0) as client:
            with pytest.raises(UnexpectedResponse, match=r"the proxy refuses the connection to https.* status 404"):
                await client.ping()


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("https://a.example.org", "http://proxy:3128"),
        ("http://a.example.org", None),
        ("https://b.example.org", None),
        ("https://user:secret@c.example.org:8443", None),
        ("https://127.0.0.1:8000", None),
        ("https://[::1]:8000", None),
        ("https://localhost", None),
    ],
)
def test_the_environment_selects_the_proxy(monkeypatch: pytest.MonkeyPatch, url: str, proxy: str | None) -> None:
    """A key of this machine does not leave it, even if NO_PROXY does not list its addresses."""
    monkeypatch.setenv("https_proxy", "proxy:3128")
    monkeypatch.setenv("no_proxy", "b.example.org,c.example.org:8443")

    assert proxy_of(url) == proxy


def test_a_proxy_of_another_kind_is_refused(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message contains no password."""
    monkeypatch.setenv("https_proxy", "socks5://user:secret@proxy:1080")

    ran = run(stack, "key", "results", "--url", "https://dropzone.invalid")

    assert ran.exit_code == 2
    assert "expected an HTTP proxy" in ran.stderr
    assert "secret" not in ran.stderr
