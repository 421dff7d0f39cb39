"""Access tokens from the identity provider of a server: by device flow (RFC 8628), client credentials or refresh.

The server says which provider to use (RFC 9728). A token is requested only for the address of the server (RFC 8707). A
server therefore cannot get a token for another server.
"""

import asyncio
import base64
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import quote_plus

import aiohttp

from dropzone.errors import Unauthenticated, Unavailable, UnexpectedResponse, Unreachable
from dropzone.transport.addresses import parse_url, proxy_of

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_TIMEOUT_SECONDS = 20.0
_POLL_SECONDS = 5.0
_MIN_POLL_SECONDS = 1.0
_DEVICE_CODE_SECONDS = 600.0
_TOKEN_SECONDS = 60.0
_OFFLINE = "offline_access"


class SignInEnded(Unauthenticated):
    """The tokens of a sign-in cannot be used any more. The message says how to sign in again."""


@dataclass(frozen=True, kw_only=True)
class SignIn:
    """The tokens for one server, and the data with which they are refreshed."""

    url: str
    issuer: str
    client_id: str
    token_endpoint: str
    access_token: str
    expires_at: float
    """When the access token expires, in seconds since 1970."""
    refresh_token: str | None = None
    revocation_endpoint: str | None = None

    @property
    def is_current(self) -> bool:
        """Whether the access token is valid for another few seconds."""
        return time.time() < self.expires_at - 10


@dataclass(frozen=True, kw_only=True)
class Provider:
    """The identity provider of a server."""

    url: str
    """The address of the server, which is the resource of the tokens."""
    issuer: str
    client_id: str | None
    scopes: tuple[str, ...]
    endpoints: Mapping[str, Any]


async def find_provider(url: str, issuer: str | None) -> Provider:
    """Return the provider `issuer` of the server at `url`. By default, return its first provider.

    Raises `Unauthenticated` if the server has no such provider or another address.
    """
    parsed = parse_url(url)
    if parsed.user is not None:
        raise Unauthenticated("expected a URL without a password, because requests with a token cannot contain both")
    address = str(parsed).rstrip("/")
    try:
        resource = await _get(f"{address}/.well-known/oauth-protected-resource")
    except UnexpectedResponse:
        raise Unauthenticated(f"{address} accepts no access tokens; use an API key") from None
    if str(resource.get("resource", "")).rstrip("/") != address:
        raise Unauthenticated(f"the public URL of the server is {resource.get('resource')}; use this URL")
    issuers = [str(each) for each in resource.get("authorization_servers", [])]
    if not issuers or (issuer and issuer not in issuers):
        raise Unauthenticated(f"expected one of the server's issuers, which are: {', '.join(issuers)}")
    issuer = issuer or issuers[0]
    endpoints = await _get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if endpoints.get("issuer") != issuer:
        raise UnexpectedResponse(
            f"expected the metadata of the issuer {issuer}, got the metadata of {endpoints.get('issuer')}"
        )
    supported = [str(scope) for scope in resource.get("scopes_supported", [])]
    if _OFFLINE in endpoints.get("scopes_supported", []):
        supported.append(_OFFLINE)
    return Provider(
        url=address,
        issuer=issuer,
        client_id=resource.get("dropzone_client_id"),
        scopes=tuple(supported),
        endpoints=endpoints,
    )


async def sign_in_by_device(
    provider: Provider, client_id: str, scopes: str, show: Callable[[str, str], None]
) -> SignIn:
    """Let the user sign in with any browser. `show` gets the address to open and the code to confirm.

    Raises `Unauthenticated` if the provider refuses the sign-in or the code expires, and `UnexpectedResponse` if a
    response of the provider is not complete.
    """
    endpoint = _endpoint(provider, "device_authorization_endpoint")
    form = {"client_id": client_id, "scope": scopes, "resource": provider.url, "audience": provider.url}
    status, started = await _post(endpoint, form)
    if status != 200:
        raise _refusal(started)
    address = started.get("verification_uri_complete") or _text(started, "verification_uri")
    show(str(address), _text(started, "user_code"))
    pause = max(_MIN_POLL_SECONDS, _seconds(started, "interval", _POLL_SECONDS))
    deadline = time.monotonic() + _seconds(started, "expires_in", _DEVICE_CODE_SECONDS)
    form = {
        "grant_type": DEVICE_GRANT,
        "device_code": _text(started, "device_code"),
        "client_id": client_id,
        "resource": provider.url,
    }
    is_last = False
    while not is_last:
        remaining = deadline - time.monotonic()
        is_last = remaining <= pause
        await asyncio.sleep(min(pause, remaining))
        try:
            status, response = await _post(_endpoint(provider, "token_endpoint"), form)
        except (Unavailable, Unreachable):
            if is_last:
                raise
            pause += _POLL_SECONDS
            continue
        if status == 200:
            return _sign_in(provider, client_id, response)
        if response.get("error") == "slow_down":
            pause += _POLL_SECONDS
        elif response.get("error") != "authorization_pending":
            raise _refusal(response)
    raise Unauthenticated("the code has expired; run `dropzone login` again")


async def sign_in_as_program(provider: Provider, client_id: str, secret: str, scopes: str) -> SignIn:
    """Sign in with client credentials."""
    form = {"grant_type": "client_credentials", "scope": scopes, "resource": provider.url, "audience": provider.url}
    credentials = ":".join(map(quote_plus, (client_id, secret)))  # encoded as in RFC 6749, section 2.3.1
    headers = {"authorization": f"Basic {base64.b64encode(credentials.encode()).decode()}"}
    status, response = await _post(_endpoint(provider, "token_endpoint"), form, headers)
    if status != 200:
        raise _refusal(response)
    return _sign_in(provider, client_id, response)


async def refresh(signed_in: SignIn) -> SignIn:
    """Return the sign-in with a new access token.

    Raises `SignInEnded` if the provider refuses the refresh, `Unavailable` if a later attempt can succeed, and
    `UnexpectedResponse` if the response has no token.
    """
    if signed_in.refresh_token is None:
        raise SignInEnded("the sign-in has expired; run `dropzone login` again")
    form = {
        "grant_type": "refresh_token",
        "refresh_token": signed_in.refresh_token,
        "client_id": signed_in.client_id,
        "resource": signed_in.url,
    }
    status, response = await _post(signed_in.token_endpoint, form)
    if status != 200:
        raise SignInEnded(f"the sign-in has ended ({response.get('error', status)}); run `dropzone login` again")
    return replace(
        signed_in,
        access_token=_text(response, "access_token"),
        expires_at=_expiry(response),
        refresh_token=response.get("refresh_token", signed_in.refresh_token),
    )


async def revoke(signed_in: SignIn) -> None:
    """Revoke the refresh token at the provider, if there is one (RFC 7009)."""
    if signed_in.refresh_token and signed_in.revocation_endpoint:
        form = {"token": signed_in.refresh_token, "client_id": signed_in.client_id}
        await _post(signed_in.revocation_endpoint, form)


def _sign_in(provider: Provider, client_id: str, response: Mapping[str, Any]) -> SignIn:
    return SignIn(
        url=provider.url,
        issuer=provider.issuer,
        client_id=client_id,
        token_endpoint=_endpoint(provider, "token_endpoint"),
        revocation_endpoint=provider.endpoints.get("revocation_endpoint"),
        access_token=_text(response, "access_token"),
        expires_at=_expiry(response),
        refresh_token=response.get("refresh_token"),
    )


def _expiry(response: Mapping[str, Any]) -> float:
    return time.time() + _seconds(response, "expires_in", _TOKEN_SECONDS)


def _text(response: Mapping[str, Any], name: str) -> str:
    value = response.get(name)
    if not isinstance(value, str) or not value:
        raise UnexpectedResponse(f"the response of the identity provider has no {name}")
    return value


def _seconds(response: Mapping[str, Any], name: str, default: float) -> float:
    """Return a number of seconds. Some providers send it as text. The standards allow to leave it out."""
    try:
        seconds = float(response[name])
    except (KeyError, TypeError, ValueError, OverflowError):
        return default
    return seconds if math.isfinite(seconds) else default


def _endpoint(provider: Provider, name: str) -> str:
    endpoint = provider.endpoints.get(name)
    if not isinstance(endpoint, str):
        raise Unauthenticated(f"{provider.issuer} has no {name}, so it does not support this sign-in")
    return endpoint


def _refusal(response: Mapping[str, Any]) -> Unauthenticated:
    reason = response.get("error_description") or response.get("error") or "no reason given"
    return Unauthenticated(f"the identity provider refused the sign-in: {reason}")


async def _get(url: str) -> Mapping[str, Any]:
    status, value = await _send("GET", url)
    if status != 200:
        raise UnexpectedResponse(f"{url} responds with the status {status}")
    return value


async def _post(
    url: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, Any]]:
    return await _send("POST", url, data=dict(form), headers=headers)


async def _send(method: str, url: str, **options: Any) -> tuple[int, Mapping[str, Any]]:
    timeout, proxy = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS), proxy_of(url)
    try:
        async with (
            aiohttp.ClientSession(proxy=proxy, timeout=timeout) as session,
            session.request(method, url, allow_redirects=False, **options) as response,
        ):
            if response.status == HTTPStatus.TOO_MANY_REQUESTS or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise Unavailable(f"{url} is busy or down: HTTP status {response.status}")
            value = await response.json(content_type=None) if response.content_length != 0 else {}
            return response.status, value if isinstance(value, dict) else {}
    except ValueError:
        raise UnexpectedResponse(f"{url} responds without JSON") from None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Unreachable(f"cannot reach {url}: {error or type(error).__name__}") from error
