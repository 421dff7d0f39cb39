"""The addresses of proxies in the settings."""

from typing import Any

import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from graphql_api.configuration.network_settings import parse_proxies


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
