"""What a browser may send back after its sign-in at the provider."""

import base64
import json
import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from graphql_api.auth.oauth import code_flow
from graphql_api.auth.oauth.code_flow import CodeFlow
from graphql_api.auth.oauth.provider_metadata import ProviderMetadata
from observability.throttled_log import ThrottledLog
from storage.documents import Unauthenticated, Unavailable
from tests.aiohttp_server import serving
from tests.ports import free_port


def flow(issuer: str) -> CodeFlow:
    """Return the sign-in at a provider."""
    return CodeFlow(
        metadata=ProviderMetadata(issuer),
        client_id="dropzone",
        resource="https://dropzone.example.org",
        audience="https://dropzone.example.org",
        scopes="read",
    )


FLOW = flow("https://id.example.org")
ENDPOINTS = ("authorization_endpoint", "token_endpoint")
COOKIE = base64.urlsafe_b64encode(json.dumps(["state", "verifier", "/"]).encode()).decode()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "7",
        "null",
        "[]",
        '["state", "verifier"]',
        '["state", 7, "/"]',
        '["", "verifier", "/"]',
        '["\\ud800", "verifier", "/"]',
        '{"state": 1, "verifier": 2, "page": 3}',
        "[" * 10_000,
        "\xff",
    ],
)
async def test_a_cookie_that_this_server_did_not_set_is_refused(content: str) -> None:
    """No other exception leaves the check: each would be logged with its traceback."""
    cookie = base64.urlsafe_b64encode(content.encode("latin-1")).decode().rstrip("=")

    with pytest.raises(Unauthenticated):
        await FLOW.finish({"state": "", "code": "code"}, cookie)


@pytest.mark.parametrize("cookie", ["", "é", "%%%", "A"])
async def test_a_cookie_that_is_not_base64_is_refused(cookie: str) -> None:
    """The provider is not asked."""
    with pytest.raises(Unauthenticated):
        await FLOW.finish({"state": "state", "code": "code"}, cookie)


async def test_the_response_of_another_provider_is_refused() -> None:
    """Otherwise a provider could obtain the code of another one (RFC 9207)."""
    with pytest.raises(Unauthenticated, match="another identity provider"):
        await FLOW.finish({"state": "state", "code": "code", "iss": "https://evil.example"}, COOKIE)


@pytest.fixture
async def refusing_provider() -> AsyncIterator[str]:
    """The address of a provider that knows no client. For the code `broken`, it has an internal error."""
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"

    async def metadata(request: web.Request) -> web.Response:
        del request
        return web.json_response({name: f"{issuer}/{name}" for name in ENDPOINTS} | {"issuer": issuer})

    async def token(request: web.Request) -> web.Response:
        if (await request.post())["code"] == "broken":
            return web.Response(status=500)
        return web.json_response({"error": "invalid_client", "error_description": "no\nclient"}, status=401)

    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", metadata)
    app.router.add_post("/token_endpoint", token)
    async with serving(app, port):
        yield issuer


@pytest.fixture(autouse=True)
def _unthrottled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_flow, "_log", ThrottledLog(code_flow.logger))


@pytest.mark.parametrize(
    ("code", "problem", "logged"),
    [
        ("code", "refused the code", "/token_endpoint responded with status 401: .*invalid_client"),
        ("broken", "did not exchange the code", "/token_endpoint responded with status 500"),
    ],
)
async def test_the_log_says_why_a_code_was_not_exchanged(
    refusing_provider: str, caplog: pytest.LogCaptureFixture, code: str, problem: str, logged: str
) -> None:
    """The client of the API at the provider can be set up wrong. Users see only that the sign-in has failed."""
    with pytest.raises(Unauthenticated, match=f"^the identity provider {problem}; sign in again$"):
        await flow(refusing_provider).finish({"state": "state", "code": code}, COOKIE)

    (message,) = caplog.messages
    assert re.search(logged, message)


@pytest.mark.parametrize(("page", "opened"), [("/graphql", "/graphql"), ("https://evil.example/", "/")])
async def test_the_sign_in_ends_at_a_page_of_this_server(refusing_provider: str, page: str, opened: str) -> None:
    """A link to the sign-in could otherwise lead to any page."""
    _, cookie = await flow(refusing_provider).start(page)

    assert json.loads(base64.urlsafe_b64decode(cookie + "=="))[2] == opened


async def test_a_user_does_not_see_the_addresses_of_a_provider_that_does_not_respond(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Anyone can start a sign-in, and the addresses can be those of a private network. The log has them."""
    issuer = f"http://127.0.0.1:{free_port()}"

    with pytest.raises(Unavailable, match=r"^the identity provider cannot be used now; retry later$"):
        await flow(issuer).start("/")

    assert any(issuer in message for message in caplog.messages)
