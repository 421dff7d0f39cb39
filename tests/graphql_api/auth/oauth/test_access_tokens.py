"""Which access tokens are valid, and how often the provider is asked for its keys."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from graphql_api.auth.oauth.access_tokens import MAX_TOKEN_BYTES, AccessTokens, TokenRules
from graphql_api.auth.oauth.issuer_keys import (
    COOLDOWN_SECONDS,
    FRESH_SECONDS,
    MAX_AGE_SECONDS,
    IssuerKeys,
    ProviderError,
)
from graphql_api.auth.scopes import Scope
from graphql_api.identity_providers import IssuerSettings
from storage.documents import Unavailable

ISSUER = "https://id.example.org"
PARTNER = "https://id.example.com/realm"
AUDIENCE = "https://dropzone.example.org"
RULES = TokenRules(
    audience=AUDIENCE,
    submitter_claim="sub",
    scope_claim="scope",
    scopes={"submit": "dropzone.submit", "read": "dropzone.read", "admin": "dropzone.admin"},
)
RSA = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
OTHER = RSAKey.generate_key(2048, {"kid": "rsa"})


class Provider:
    """A provider whose keys and failures a test changes. It counts requests, and `now` is the time in seconds."""

    def __init__(self, issuer: str = ISSUER) -> None:
        self.issuer = issuer
        self.published: list[Any] = [RSA, EC, ED]
        self.is_down = False
        self.requests: list[str] = []
        self.now = 1_000.0

    async def fetch(self, url: str) -> Mapping[str, object]:
        """Respond like the provider."""
        self.requests.append(url)
        await asyncio.sleep(0)
        if self.is_down:
            raise ProviderError("no response")
        if url.endswith("/.well-known/openid-configuration"):
            return {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/jwks"}
        return {
            "keys": [
                key.as_dict(private=False) if isinstance(key, RSAKey | ECKey | OKPKey) else key
                for key in self.published
            ]
        }

    def tokens(self, *issuers: IssuerSettings) -> AccessTokens:
        """Return the source of callers that asks this provider."""
        accepted = issuers or (IssuerSettings(self.issuer),)
        keys = {each.url: IssuerKeys(each.url, self.fetch, lambda: self.now) for each in accepted}
        return AccessTokens(accepted, RULES, keys)


def claims(**changes: object) -> dict[str, object]:
    """Return the claims of a valid token, with changes. A change to None removes the claim."""
    now = int(time.time())
    valid = {
        "iss": ISSUER,
        "sub": "station-7",
        "aud": AUDIENCE,
        "exp": now + 60,
        "iat": now,
        "client_id": "station",
        "scope": "openid dropzone.read dropzone.submit",
    }
    return {name: value for name, value in (valid | changes).items() if value is not None}


def sign(content: object, key: Any = RSA, alg: str = "RS256", **header: object) -> str:
    """Return a signed token."""
    protected = {"alg": alg, "typ": "at+jwt", "kid": key.kid} | header
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    with_all = jws.JWSRegistry(algorithms=["RS256", "PS256", "ES256", "Ed25519", "HS256"], strict_check_header=False)
    return jws.serialize_compact({k: v for k, v in protected.items() if v is not None}, text, key, registry=with_all)


@pytest.mark.parametrize(("key", "alg"), [(RSA, "RS256"), (RSA, "PS256"), (EC, "ES256"), (ED, "Ed25519")])
async def test_a_valid_token_names_submitter_scopes_and_expiry(key: Any, alg: str) -> None:
    """Scopes of other applications are ignored."""
    found = await Provider().tokens().find(sign(claims(), key, alg))

    assert found is not None
    assert found.caller.submitter == "station-7"
    assert found.caller.scopes == {Scope.READ, Scope.SUBMIT}
    assert found.caller.credential == "token of station"
    assert 50 < found.seconds <= 60


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["https://other.example", AUDIENCE]},
        {"scope": ["dropzone.read", "dropzone.submit"]},
        {"nbf": int(time.time()) - 5},
        {"sub": "someone@example.org"},
    ],
)
async def test_forms_that_providers_use_are_valid(changes: Mapping[str, object]) -> None:
    """An audience and scopes may be lists."""
    assert await Provider().tokens().find(sign(claims(**changes))) is not None


def _unsigned(content: object, **header: object) -> str:
    parts = [json.dumps({"typ": "at+jwt", "kid": "rsa"} | header), json.dumps(content)]
    return ".".join([*(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts), ""])


def _signed_with_public_key() -> str:
    content = _unsigned(claims(), alg="HS256")[:-1]
    signature = hmac.digest(RSA.as_pem(private=False), content.encode(), "sha256")
    return f"{content}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


NOW = int(time.time())
ATTACKS: Mapping[str, Callable[[], str]] = {
    "no algorithm": lambda: _unsigned(claims(), alg="none"),
    "no algorithm in capitals": lambda: _unsigned(claims(), alg="NONE"),
    "no algorithm member": lambda: _unsigned(claims()),
    "HS256 with the public key": lambda: _signed_with_public_key(),
    "HS256 with an empty key id": lambda: sign(
        claims(), OctKey.import_key("secret-secret-secret-secret-secret!"), "HS256"
    ),
    "a key in the header": lambda: sign(claims(), OTHER, jwk=OTHER.as_dict(private=False)),
    "an address of keys in the header": lambda: sign(claims(), OTHER, jku="https://evil.example/jwks"),
    "another key with a known id": lambda: sign(claims(), OTHER),
    "a key of another kind": lambda: sign(claims(), EC, "ES256", kid="rsa"),
    "an unknown key id": lambda: sign(claims(), RSA, kid="unknown"),
    "a key id that is not text": lambda: _unsigned(claims(), alg="RS256", kid=["rsa"]) + "AAAA",
    "an ID token": lambda: sign(claims(), typ="JWT"),
    "no type": lambda: sign(claims(), typ=None),
    "another issuer": lambda: sign(claims(iss="https://evil.example")),
    "an issuer with a slash": lambda: sign(claims(iss=f"{ISSUER}/")),
    "an issuer that is not text": lambda: sign(claims(iss=[ISSUER])),
    "no issuer": lambda: sign(claims(iss=None)),
    "another audience": lambda: sign(claims(aud="https://other.example")),
    "no audience": lambda: sign(claims(aud=None)),
    "an audience that contains ours": lambda: sign(claims(aud=f"{AUDIENCE}.evil.example")),
    "expired": lambda: sign(claims(exp=NOW - 1)),
    "no expiry": lambda: sign(claims(exp=None)),
    "an expiry that is text": lambda: sign(claims(exp="9999999999")),
    "an expiry that is not a number": lambda: sign(json.dumps(claims(exp=float("nan"))).encode()),
    "an infinite expiry": lambda: sign(json.dumps(claims(exp=float("inf"))).encode()),
    "not valid yet": lambda: sign(claims(nbf=NOW + 3_600)),
    "issued in the future": lambda: sign(claims(iat=NOW + 3_600)),
    "no subject": lambda: sign(claims(sub=None)),
    "a submitter with a slash": lambda: sign(claims(sub="../other")),
    "an empty submitter": lambda: sign(claims(sub="")),
    "a submitter that is not text": lambda: sign(claims(sub=7)),
    "a payload that is not JSON": lambda: sign(b"\xff"),
    "a payload that is a list": lambda: sign([]),
    "a deeply nested payload": lambda: sign(b"[" * 3_000),
    "an unknown critical header": lambda: sign(claims(), OTHER, crit=["b64"], b64=False),
    "a cut signature": lambda: sign(claims())[:-4],
    "a changed payload": lambda: ".".join(
        [sign(claims()).split(".")[0], sign(claims(sub="other")).split(".")[1], sign(claims()).split(".")[2]]
    ),
    "another base64 text": lambda: "!.!.!",
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_token_of_an_attacker_is_refused(attack: str) -> None:
    """No exception leaves the check, and no caller is found."""
    tokens = Provider().tokens()
    token = ATTACKS[attack]()

    assert tokens.is_form(token)
    assert await tokens.find(token) is None


def test_a_huge_token_is_not_parsed() -> None:
    """It does not have the form of a token."""
    token = sign(claims(padding="x" * MAX_TOKEN_BYTES))

    assert not Provider().tokens().is_form(token)
    assert not Provider().tokens().is_form("dz_a-key-without-dots")
    assert not AccessTokens([], RULES).is_form(sign(claims()))


async def test_a_token_that_is_invalid_in_any_case_needs_no_keys() -> None:
    """Anyone can make such tokens, so they must not cause requests."""
    provider = Provider()
    tokens = provider.tokens()

    for attack in ("no algorithm", "an ID token", "another issuer", "another audience", "expired"):
        await tokens.find(ATTACKS[attack]())

    assert provider.requests == []


async def test_concurrent_tokens_share_a_read_of_the_keys() -> None:
    """One request for the metadata, one for the keys."""
    provider = Provider()
    tokens = provider.tokens()

    found = await asyncio.gather(*(tokens.find(sign(claims(sub=f"s{number}"))) for number in range(20)))

    assert all(found)
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

    assert provider.requests[2:] == [f"{ISSUER}/jwks"]


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


async def test_issuers_cannot_name_the_submitters_of_another_issuer() -> None:
    """A prefix separates them. The issuer without a prefix cannot name a submitter with one."""
    provider = Provider()
    tokens = provider.tokens(IssuerSettings(ISSUER), IssuerSettings(PARTNER, "partner"))
    provider.issuer = PARTNER

    found = await tokens.find(sign(claims(iss=PARTNER)))
    provider.issuer = ISSUER

    assert found is not None
    assert found.caller.submitter == "partner.station-7"
    assert await tokens.find(sign(claims(sub="partner.station-7"))) is None
    assert await tokens.find(sign(claims())) is not None
