"""When the metadata of a provider is read again, and which addresses in it are used."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping

import pytest
from joserfc.jwk import ECKey

from graphql_api.auth.oauth.provider_metadata import (
    COOLDOWN_SECONDS,
    FRESH_SECONDS,
    MAX_AGE_SECONDS,
    ProviderError,
    ProviderMetadata,
)
from tests.graphql_api.auth.oauth.provider import ISSUER, Provider, claims, sign
from tests.stack import PATIENCE_SECONDS

MOVED = "https://keys.example.org"


async def test_a_provider_can_publish_its_keys_at_another_address() -> None:
    """A token with an unknown key makes the API read the new address. The API need not be restarted."""
    provider = Provider()
    tokens = provider.tokens()
    assert await tokens.find(sign(claims())) is not None
    new = ECKey.generate_key("P-256", {"kid": "new"})
    provider.published, provider.endpoints = [new], MOVED
    provider.now += COOLDOWN_SECONDS + 1

    assert await tokens.find(sign(claims(), new, "ES256")) is not None


async def test_known_keys_are_read_from_the_new_address_when_they_are_old() -> None:
    """The old address may still respond, with keys that the provider does not use any more."""
    provider = Provider()
    tokens = provider.tokens()
    assert await tokens.find(sign(claims())) is not None
    provider.endpoints = MOVED
    provider.now += FRESH_SECONDS + 1

    assert await tokens.find(sign(claims())) is not None  # with the known key, while the keys are read
    assert await tokens.find(sign(claims(), kid="unknown")) is None  # waits for the keys
    assert provider.requests[-1] == f"{MOVED}/jwks"


async def test_a_sign_in_uses_the_new_address_after_ten_minutes() -> None:
    """Until then, the known address is used without a request."""
    provider = Provider()
    metadata = provider.keys(ISSUER).metadata
    known = await metadata.endpoint("authorization_endpoint")
    provider.endpoints = MOVED
    provider.now += FRESH_SECONDS

    assert await metadata.endpoint("authorization_endpoint") == known
    assert len(provider.requests) == 1
    provider.now += 1
    assert await metadata.endpoint("authorization_endpoint") == f"{MOVED}/authorize"


async def test_known_addresses_are_used_while_the_provider_is_down(caplog: pytest.LogCaptureFixture) -> None:
    """For a day. The API asks the provider at most once per cooldown, and each time the log says so."""
    provider = Provider()
    metadata = provider.keys(ISSUER).metadata
    known = await metadata.endpoint("authorization_endpoint")
    provider.is_down = True
    provider.now += FRESH_SECONDS + 1

    with caplog.at_level(logging.WARNING):
        assert [await metadata.endpoint("authorization_endpoint") for _ in range(3)] == [known] * 3
    assert len(provider.requests) == 3  # two addresses of the metadata
    assert caplog.messages == [f"the metadata of the issuer {ISSUER} cannot be read: no response"]
    provider.now += MAX_AGE_SECONDS
    with pytest.raises(ProviderError, match="could not be read"):
        await metadata.endpoint("authorization_endpoint")


async def test_a_read_of_the_metadata_continues_without_the_request_that_started_it() -> None:
    """Otherwise, a client that starts a sign-in and disconnects would prevent all sign-ins until the cooldown ends."""
    asked, responds = asyncio.Event(), asyncio.Event()

    async def fetch(url: str) -> dict[str, object]:
        del url
        asked.set()
        await responds.wait()
        return {"issuer": ISSUER, "authorization_endpoint": f"{ISSUER}/authorize"}

    metadata = ProviderMetadata(ISSUER, fetch)
    first = asyncio.create_task(metadata.endpoint("authorization_endpoint"))
    await asked.wait()
    second = asyncio.create_task(metadata.endpoint("authorization_endpoint"))
    first.cancel()
    await asyncio.wait([first])
    responds.set()

    assert await second == f"{ISSUER}/authorize"


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_sign_in_does_not_wait_for_a_provider_that_hangs(*, is_known: bool) -> None:
    """After a failed read, it uses the known metadata or fails. The read continues, so a later sign-in succeeds."""
    provider, responds = Provider(), asyncio.Event()
    metadata = provider.keys(ISSUER).metadata
    fetch = metadata.fetch

    async def fetch_slowly(url: str) -> Mapping[str, object]:
        await responds.wait()
        return await fetch(url)

    if is_known:
        await metadata.endpoint("authorization_endpoint")
    provider.is_down = True
    provider.now += FRESH_SECONDS + 1
    with contextlib.nullcontext() if is_known else pytest.raises(ProviderError):
        await metadata.endpoint("authorization_endpoint")
    provider.now += COOLDOWN_SECONDS
    provider.is_down, provider.endpoints, metadata.fetch = False, MOVED, fetch_slowly

    async with asyncio.timeout(PATIENCE_SECONDS):
        if is_known:
            assert await metadata.endpoint("authorization_endpoint") != f"{MOVED}/authorize"
        else:
            with pytest.raises(ProviderError, match="could not be read"):
                await metadata.endpoint("authorization_endpoint")
        responds.set()
        assert await metadata.endpoint("authorization_endpoint") == f"{MOVED}/authorize"


@pytest.mark.parametrize("address", ["http://127.0.0.1:8080/jwks", "http://localhost/jwks", "http://keys.example.org/"])
async def test_a_provider_cannot_make_the_api_call_this_machine(address: str) -> None:
    """A provider with https must name addresses with https. The API itself calls some of them."""

    async def fetch(url: str) -> dict[str, object]:
        del url
        return {"issuer": ISSUER, "jwks_uri": address}

    with pytest.raises(ProviderError, match=f"expected `jwks_uri` with https in the metadata of {ISSUER}"):
        await ProviderMetadata(ISSUER, fetch).endpoint("jwks_uri")


async def test_a_provider_on_this_machine_can_use_http() -> None:
    """Tests and development use such a provider."""
    local = "http://127.0.0.1:9000"

    async def fetch(url: str) -> dict[str, object]:
        del url
        return {"issuer": local, "jwks_uri": f"{local}/jwks"}

    assert await ProviderMetadata(local, fetch).endpoint("jwks_uri") == f"{local}/jwks"
