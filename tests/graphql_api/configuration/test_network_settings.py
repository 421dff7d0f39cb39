"""The addresses of proxies in the settings."""

from typing import Any

import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from graphql_api.configuration.network_settings import check_url, parse_metrics_sources, parse_origins, parse_proxies


@pytest.mark.parametrize("proxies", ["10.0.0.1, 192.0.2.0/24", "::ffff:10.0.0.1, ::ffff:192.0.2.0/120"])
@pytest.mark.parametrize("prefix", ["", "::ffff:"])
async def test_both_forms_of_an_ipv4_address_are_the_same_proxy(proxies: str, prefix: str) -> None:
    """The client is the last address that is not a trusted proxy. Its limits would otherwise apply to all clients."""
    clients = []

    async def app(scope: Any, *_: object) -> None:
        clients.append(scope["client"][0])

    forwarded = f"203.0.113.7, {prefix}192.0.2.9"
    scope: Any = {
        "type": "http",
        "client": (f"{prefix}10.0.0.1", 1),
        "headers": [(b"x-forwarded-for", forwarded.encode())],
    }
    receive: Any = None
    await ProxyHeadersMiddleware(app, parse_proxies(proxies))(scope, receive, receive)

    assert clients == ["203.0.113.7"]


MALFORMED = [
    "a:99999",
    "a:0",
    "a:",
    "a:1:2",
    "a:b",
    ":1",
    "a..b",
    ".a",
    "-a",
    "a.-b",
    "::1",
    "[::1",
    "[1::2::3]",
    "[]",
    "a]",
]


@pytest.mark.parametrize("host", MALFORMED)
def test_a_malformed_host_or_port_is_refused(host: str) -> None:
    """Clients could not connect to it, and no browser sends it as an origin."""
    with pytest.raises(ValueError, match=r"^expected a URL such as https://example\.org, got "):
        check_url(f"https://{host}/path")
    with pytest.raises(ValueError, match=r"^expected origins such as https://example\.org, got "):
        parse_origins(f"https://{host}")
    with pytest.raises(ValueError, match=r"^expected name=http://host:port/path or "):
        parse_metrics_sources(f"a=http://{host}/metrics")


@pytest.mark.parametrize(
    "host", ["a", "a.", "a-b.example", "my_host:65535", "10.0.0.1:1", "[::1]", "[::FFFF:10.0.0.1]:443"]
)
def test_every_form_of_a_host_is_accepted(host: str) -> None:
    """Names in a local network can have underscores, and names in DNS can end with a dot."""
    check_url(f"HTTPS://{host}/path")
    assert parse_origins(f"https://{host}")
    assert parse_metrics_sources(f"a=http://{host}/metrics")
