"""A sign-in survives short failures of the identity provider, which is a stand-in here."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from dropzone import Unauthenticated, Unavailable, UnexpectedResponse, Unreachable
from dropzone.sign_in import oauth, saved_sign_ins
from dropzone.sign_in.oauth import Provider, SignIn
from tests.aiohttp_server import serving
from tests.another_api import AnotherApi
from tests.client.conftest import run
from tests.stack import Stack

TOKENS = {"access_token": "new", "expires_in": 60, "refresh_token": "next"}
DEVICE = {"device_code": "device", "user_code": "code", "verification_uri": "https://example.org", "interval": 0}


class IdentityProvider:
    """A provider that gives the next of these responses to each request for tokens: a status and a body, or None.

    None closes the connection without a response.
    """

    def __init__(self) -> None:
        self.url = ""
        self.device: dict[str, object] = DEVICE | {"expires_in": 600}
        self.responses: list[tuple[int, object] | None] = []
        self.authorization: str | None = None
        """The credentials of the last request for tokens."""

    async def start_device(self, request: web.Request) -> web.Response:
        """Start a device flow."""
        del request
        return web.json_response(self.device)

    async def describe(self, request: web.Request) -> web.Response:
        """Return the metadata."""
        del request
        return web.json_response({"issuer": self.url, "token_endpoint": f"{self.url}/token"})

    async def give_tokens(self, request: web.Request) -> web.Response:
        """Respond to a request for tokens."""
        self.authorization = request.headers.get("authorization")
        response = self.responses.pop(0)
        if response is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        status, body = response
        return (
            web.Response(status=status, text=body) if isinstance(body, str) else web.json_response(body, status=status)
        )

    @property
    def found(self) -> Provider:
        """The provider as the client has found it."""
        endpoints = {"device_authorization_endpoint": f"{self.url}/device", "token_endpoint": f"{self.url}/token"}
        return Provider(url="https://x", issuer=self.url, client_id="c", scopes=(), endpoints=endpoints)

    async def sign_in_by_device(self) -> SignIn:
        """Sign in as a user."""
        return await oauth.sign_in_by_device(self.found, "c", "read", lambda *_: None)

    async def refresh(self) -> SignIn:
        """Refresh an expired sign-in."""
        signed_in = SignIn(
            url="https://x",
            issuer=self.url,
            client_id="c",
            token_endpoint=f"{self.url}/token",
            access_token="old",
            expires_at=0,
            refresh_token="first",
        )
        return await oauth.refresh(signed_in)


@pytest.fixture
async def provider(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[IdentityProvider]:
    """Serve the provider. Polls do not pause."""
    monkeypatch.setattr(oauth, "_POLL_SECONDS", 0.0)
    monkeypatch.setattr(oauth, "_MIN_POLL_SECONDS", 0.0)
    stand_in, app = IdentityProvider(), web.Application()
    app.router.add_get("/.well-known/openid-configuration", stand_in.describe)
    app.router.add_post("/device", stand_in.start_device)
    app.router.add_post("/token", stand_in.give_tokens)
    async with serving(app) as stand_in.url:
        yield stand_in


@pytest.mark.parametrize("response", [(503, {"error": "temporarily_unavailable"}), (429, {}), (502, "<html>")])
async def test_a_refresh_can_be_repeated_if_the_provider_is_down(
    provider: IdentityProvider, response: tuple[int, object]
) -> None:
    """The client retries this error, so a running `dropzone watch` continues. The refresh token is still valid."""
    provider.responses = [response, (200, TOKENS)]

    with pytest.raises(Unavailable, match=f"token is busy or down: HTTP status {response[0]}$"):
        await provider.refresh()
    assert (await provider.refresh()).refresh_token == "next"


@pytest.mark.parametrize("status", [400, 401])
async def test_a_refused_refresh_ends_the_sign_in(provider: IdentityProvider, status: int) -> None:
    """The refresh token is revoked or has expired."""
    provider.responses = [(status, {"error": "invalid_grant"})]

    with pytest.raises(Unauthenticated, match=r"the sign-in has ended \(invalid_grant\)"):
        await provider.refresh()


async def test_a_sign_in_by_device_continues_after_a_lost_poll(provider: IdentityProvider) -> None:
    """The user may have confirmed the code already."""
    pending = (400, {"error": "authorization_pending"})
    provider.responses = [pending, None, (503, "<html>"), pending, (200, TOKENS)]

    assert (await provider.sign_in_by_device()).access_token == "new"


@pytest.mark.parametrize(("response", "error"), [(None, Unreachable), ((503, "<html>"), Unavailable)])
async def test_a_sign_in_by_device_ends_with_its_code(
    provider: IdentityProvider, response: tuple[int, object] | None, error: type[Exception]
) -> None:
    """A provider that is down cannot say that the code has expired."""
    provider.device["expires_in"] = 0
    provider.responses = [response]

    with pytest.raises(error):
        await provider.sign_in_by_device()


@pytest.mark.parametrize("interval", [0, -5, 10**9])
async def test_a_sign_in_by_device_ends_if_the_code_is_never_confirmed(
    provider: IdentityProvider, interval: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client pauses even if the provider asks for no pause. It polls a last time when the code expires."""
    monkeypatch.setattr(oauth, "_MIN_POLL_SECONDS", 1.0)
    provider.device |= {"interval": interval, "expires_in": 0.1}
    provider.responses = [(400, {"error": "authorization_pending"})]

    with pytest.raises(Unauthenticated, match=r"^the code has expired; run `dropzone login` again$"):
        await provider.sign_in_by_device()
    assert not provider.responses


@pytest.mark.parametrize("tokens", [{}, {"access_token": None}, {"access_token": ""}, ["new"]])
async def test_a_response_without_a_token_is_an_error(provider: IdentityProvider, tokens: object) -> None:
    """The message names what is missing, because the provider is not the server that the user has named."""
    provider.responses = [(200, tokens), (200, tokens)]

    with pytest.raises(UnexpectedResponse, match="has no access_token"):
        await provider.sign_in_by_device()
    with pytest.raises(UnexpectedResponse, match="has no access_token"):
        await provider.refresh()


async def test_a_client_id_and_a_secret_can_have_any_characters(provider: IdentityProvider) -> None:
    """The client encodes them as in RFC 6749. Providers decode them: a `+`, for example, would become a space."""
    provider.responses = [(200, TOKENS)]

    await oauth.sign_in_as_program(provider.found, "https://station.example", "ä+b c", "read")

    assert provider.authorization is not None
    decoded = base64.b64decode(provider.authorization.removeprefix("Basic ")).decode()
    assert decoded == "https%3A%2F%2Fstation.example:%C3%A4%2Bb+c"


@pytest.mark.parametrize("missing", ["device_code", "user_code", "verification_uri"])
async def test_an_incomplete_device_code_is_an_error(provider: IdentityProvider, missing: str) -> None:
    """Without one of these values, the user cannot sign in."""
    del provider.device[missing]

    with pytest.raises(UnexpectedResponse, match=f"has no {missing}"):
        await provider.sign_in_by_device()


@pytest.mark.parametrize("seconds", ["0", None, "soon", [], float("nan"), 10**400])
async def test_unusual_numbers_of_seconds_do_not_prevent_a_sign_in(provider: IdentityProvider, seconds: object) -> None:
    """Some providers send numbers as text. A number that cannot be read has its default value."""
    provider.device |= {"interval": seconds, "expires_in": seconds}
    provider.responses = [(200, TOKENS | {"expires_in": seconds})]

    assert (await provider.sign_in_by_device()).access_token == "new"


@pytest.mark.parametrize("saved", [5, {}, {"field_of_another_release": "x"}])
def test_a_sign_in_with_other_fields_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: object) -> None:
    """Another release can have saved it. Each command printed a traceback, also `dropzone logout`."""
    monkeypatch.setattr(saved_sign_ins, "folder", lambda: tmp_path)
    (tmp_path / "sign-ins.json").write_text(json.dumps({"https://example.org": saved}))

    assert saved_sign_ins.read("https://example.org") is None


def test_an_ended_sign_in_has_one_hint(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how to sign in again, and not to pass a key, which the user does not have."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    expired = SignIn(
        url=stack.url,
        issuer="https://x",
        client_id="c",
        token_endpoint="https://x/token",
        access_token="old",
        expires_at=0,
    )
    saved_sign_ins.write(stack.url, expired)

    ran = run(stack, "", "results")

    assert (ran.exit_code, ran.stderr) == (4, "error: the sign-in has expired; run `dropzone login` again\n")


async def test_a_token_that_the_server_refuses_is_not_saved(
    stack: Stack, provider: IdentityProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message is about the token, and not about keys. The user did not use a key."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("DROPZONE_LOGIN_SECRET", "secret")
    provider.responses = [(200, TOKENS)]
    api = AnotherApi(stack, tmp_path)
    api.environment |= {"DROPZONE_PUBLIC_URL": api.url, "DROPZONE_OIDC_ISSUERS": provider.url}
    with api:
        ran = await asyncio.to_thread(run, api, "", "login", "--client-id", "c")

    reason = f"{api.url} does not accept the token of {provider.url}, for example because of its audience or type"
    assert (ran.exit_code, ran.stderr) == (4, f"error: {reason}; the log of the API says why\n")
    assert saved_sign_ins.read(api.url) is None
