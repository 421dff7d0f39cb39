"""What a browser may send back after its sign-in at the provider."""

import base64
import json

import pytest

from graphql_api.auth.oauth.code_flow import CodeFlow
from graphql_api.auth.oauth.issuer_keys import IssuerKeys
from storage.documents import Unauthenticated

FLOW = CodeFlow(
    issuer="https://id.example.org",
    keys=IssuerKeys("https://id.example.org"),
    client_id="dropzone",
    resource="https://dropzone.example.org",
    audience="https://dropzone.example.org",
    scopes="read",
)


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
    cookie = base64.urlsafe_b64encode(json.dumps(["state", "verifier", "/"]).encode()).decode()

    with pytest.raises(Unauthenticated, match="another identity provider"):
        await FLOW.finish({"state": "state", "code": "code", "iss": "https://evil.example"}, cookie)
