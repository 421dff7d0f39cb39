"""How often the keys of a provider are read, and which keys are used."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from joserfc.jwk import ECKey

from graphql_api.auth.oauth.issuer_keys import IssuerKeys
from graphql_api.auth.oauth.provider_metadata import COOLDOWN_SECONDS, FRESH_SECONDS, MAX_AGE_SECONDS, ProviderMetadata
from graphql_api.configuration.identity_providers import IssuerSettings
from storage.documents import Unavailable
from tests.graphql_api.auth.oauth.provider import ISSUER, OTHER, RSA, Provider, claims, sign


async def test_concurrent_tokens_share_a_read_of_the_keys() -> None:
    """One request for the metadata, one for the keys."""
    provider = Provider()
    tokens = provider.tokens()

    found = await asyncio.gather(*(tokens.find(sign(claims(sub=f"s{number}"))) for number in range(20)))

    assert all(found)
    assert provider.requests == [f"{ISSUER}/.well-known/openid-configuration", f"{ISSUER}/jwks"]


async def test_a_sign_in_and_a_token_share_a_read_of_the_metadata() -> None:
    """They are the first requests after a start, and come at the same time."""
    provider = Provider()
    keys = provider.keys(ISSUER)

    address, key = await asyncio.gather(keys.metadata.endpoint("authorization_endpoint"), keys.find("rsa"))

    assert address == f"{ISSUER}/authorize"
    assert key is not None
    assert provider.requests == [f"{ISSUER}/.well-known/openid-configuration", f"{ISSUER}/jwks"]


async def test_unknown_key_ids_ask_the_provider_once_per_cooldown() -> None:
    """An attacker can name any number of key ids. Valid tokens work meanwhile."""
    provider = Provider()
    tokens = provider.tokens()
    await tokens.find(sign(claims()))
    provider.now += COOLDOWN_SECONDS

    storm = [sign(claims(), OTHER, kid=f"unknown-{number}") for number in range(50)]
    for _ in range(2):
        found = await asyncio.gather(*(tokens.find(token) for token in storm), tokens.find(sign(claims())))
        assert [each is None for each in found] == [True] * 50 + [False]

    assert provider.requests[2:] == [f"{ISSUER}/.well-known/openid-configuration", f"{ISSUER}/jwks"]


async def test_a_new_key_is_read_when_a_token_names_it() -> None:
    """Tokens with the old key are refused as soon as the provider does not publish it any more."""
    provider = Provider()
    tokens = provider.tokens()
    await tokens.find(sign(claims()))
    new = ECKey.generate_key("P-256", {"kid": "new"})
    provider.published = [new]
    provider.now += COOLDOWN_SECONDS

    assert await tokens.find(sign(claims(), new, "ES256")) is not None
    assert await tokens.find(sign(claims())) is None


async def test_known_keys_are_used_while_the_provider_is_down() -> None:
    """For a day. A provider without known keys makes the API respond that it cannot know."""
    provider = Provider()
    tokens = provider.tokens()
    await tokens.find(sign(claims()))
    provider.is_down = True

    provider.now += FRESH_SECONDS + 1
    assert await tokens.find(sign(claims())) is not None
    provider.now += MAX_AGE_SECONDS
    with pytest.raises(Unavailable):
        await tokens.find(sign(claims()))

    down = Provider()
    down.is_down = True
    tokens = down.tokens()
    for _ in range(5):
        with pytest.raises(Unavailable):
            await tokens.find(sign(claims()))
    assert len(down.requests) == 2  # both addresses of the metadata, and nothing more before the cooldown ends


async def test_a_token_with_a_new_key_can_be_valid_while_the_provider_is_down() -> None:
    """The client keeps its token and tries again, because the token can be valid. A known key is used meanwhile."""
    provider = Provider()
    tokens = provider.tokens()
    await tokens.find(sign(claims()))
    new = ECKey.generate_key("P-256", {"kid": "new"})
    provider.published = [*provider.published, new]
    provider.is_down = True
    provider.now += COOLDOWN_SECONDS

    for _ in range(2):
        with pytest.raises(Unavailable):
            await tokens.find(sign(claims(), new, "ES256"))
    assert await tokens.find(sign(claims())) is not None

    provider.is_down = False
    provider.now += COOLDOWN_SECONDS
    assert await tokens.find(sign(claims(), new, "ES256")) is not None


async def test_an_address_that_cannot_be_parsed_is_a_problem_of_the_provider() -> None:
    """It says nothing about the tokens."""

    async def fetch(url: str) -> Mapping[str, object]:
        del url
        return {"issuer": ISSUER, "jwks_uri": "https://[::1/keys"}

    with pytest.raises(Unavailable):
        await IssuerKeys(ProviderMetadata(ISSUER, fetch)).find("rsa")


async def test_metadata_of_another_issuer_is_refused() -> None:
    """Otherwise a provider could answer for another one (RFC 8414, section 3.3)."""
    provider = Provider("https://other.example")

    with pytest.raises(Unavailable):
        await provider.tokens(IssuerSettings(ISSUER)).find(sign(claims()))


@pytest.mark.parametrize("use", ["symmetric", "for encryption", "short", "private type"])
async def test_keys_that_may_not_verify_signatures_are_ignored(use: str) -> None:
    """The other keys of the provider still work."""
    public = OTHER.as_dict(private=False)
    unusable: Mapping[str, Any] = {
        "symmetric": {"kty": "oct", "kid": "odd", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"},
        "for encryption": public | {"kid": "odd", "use": "enc"},
        "short": {"kty": "RSA", "kid": "odd", "n": public["n"][:100], "e": "AQAB"},
        "private type": {"kty": "odd", "kid": "odd"},
    }
    provider = Provider()
    provider.published = [unusable[use], "not a key", None, RSA]
    tokens = provider.tokens()

    assert await tokens.find(sign(claims(), OTHER, kid="odd")) is None
    assert await tokens.find(sign(claims())) is not None
