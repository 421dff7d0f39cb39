"""Which access tokens are valid, and which submitter and scopes they name."""

import base64
import hmac
import json
import time
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import pytest
from joserfc.jwk import OctKey

from graphql_api.auth.audit_log import MAX_OPERATOR_NOTES
from graphql_api.auth.oauth.access_tokens import MAX_TOKEN_BYTES, AccessTokens
from graphql_api.configuration.identity_providers import IssuerSettings
from graphql_api.scopes import Scope
from tests.graphql_api.auth.oauth.provider import (
    AUDIENCE,
    EC,
    ED,
    ISSUER,
    OTHER,
    OTHER_EC,
    PARTNER,
    RSA,
    RULES,
    MemoryAuditLog,
    Provider,
    claims,
    sign,
)


@pytest.mark.parametrize(("key", "alg"), [(RSA, "RS256"), (RSA, "PS256"), (EC, "ES256"), (ED, "Ed25519")])
async def test_a_valid_token_names_submitter_scopes_and_expiry(key: Any, alg: str) -> None:
    """Scopes of other applications are ignored."""
    found = await Provider().tokens().find(sign(claims(), key, alg))

    assert found is not None
    assert found.caller.submitter == "station-7"
    assert found.caller.scopes == {Scope.READ, Scope.SUBMIT}
    assert found.caller.credential == "token of station"
    assert found.caller.person == f"{ISSUER} station-7"
    assert 50 < found.valid_seconds <= 60


@pytest.mark.parametrize("name", ["auth0|5f7c8ec7c33c6c004bbafe82", "google-oauth2|10354799159714", "x4Kt@clients"])
async def test_a_user_of_auth0_is_a_submitter(name: str) -> None:
    """Its names of users contain `|`, and those of programs `@`."""
    found = await Provider().tokens().find(sign(claims(sub=name)))

    assert found is not None
    assert found.caller.submitter == name


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


def after(seconds: int) -> int:
    """Return the time `seconds` after now, as claims contain it."""
    return int(time.time()) + seconds


ATTACKS: Mapping[str, Callable[[], str]] = {
    "no algorithm": lambda: _unsigned(claims(), alg="none"),
    "no algorithm in capitals": lambda: _unsigned(claims(), alg="NONE"),
    "no algorithm member": lambda: _unsigned(claims()),
    "HS256 with the public key": lambda: _signed_with_public_key(),
    "HS256 with an empty key id": lambda: sign(
        claims(), OctKey.import_key("secret-secret-secret-secret-secret!"), "HS256"
    ),
    "a key in the header": lambda: sign(claims(), OTHER_EC, "ES256", jwk=OTHER_EC.as_dict(private=False)),
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
    "expired": lambda: sign(claims(exp=after(-1))),
    "no expiry": lambda: sign(claims(exp=None)),
    "an expiry that is text": lambda: sign(claims(exp="9999999999")),
    "an expiry that is not a number": lambda: sign(json.dumps(claims(exp=float("nan"))).encode()),
    "an infinite expiry": lambda: sign(json.dumps(claims(exp=float("inf"))).encode()),
    "an enormous expiry": lambda: sign(claims(exp=10**400)),
    "not valid yet": lambda: sign(claims(nbf=after(3_600))),
    "issued in the future": lambda: sign(claims(iat=after(3_600))),
    "no subject": lambda: sign(claims(sub=None)),
    "a submitter with a slash": lambda: sign(claims(sub="../other")),
    "an empty submitter": lambda: sign(claims(sub="")),
    "a submitter that is not text": lambda: sign(claims(sub=7)),
    "a payload that is not JSON": lambda: sign(b"\xff"),
    "a payload that is a list": lambda: sign([]),
    "a deeply nested payload": lambda: sign(b"[" * 3_000),
    "an unknown critical header": lambda: sign(claims(), crit=["odd"], odd="value"),
    "a payload without base64": lambda: sign(claims(), crit=["b64"], b64=False),
    "a cut signature": lambda: sign(claims())[:-4],
    "a changed payload": lambda: ".".join(
        [sign(claims()).split(".")[0], sign(claims(sub="other")).split(".")[1], sign(claims()).split(".")[2]]
    ),
    "another base64 text": lambda: "!.!.!",
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_token_of_an_attacker_is_refused(attack: str) -> None:
    """No exception leaves the check, and no caller is found. One entry of an audit log says why, without the token."""
    provider = Provider()
    tokens = provider.tokens()
    token = ATTACKS[attack]()

    assert tokens.recognizes(token)
    assert [await tokens.find(token) for _ in range(3)] == [None] * 3

    await provider.audit_log.wait()
    (entry,) = provider.audit_log.entries
    assert entry.action == "token.refused"
    assert entry.details
    assert not any(part and part in entry.details for part in token.split("."))


def test_a_huge_token_is_not_parsed() -> None:
    """It does not have the form of a token."""
    token = sign(claims(padding="x" * MAX_TOKEN_BYTES))

    assert not Provider().tokens().recognizes(token)
    assert not Provider().tokens().recognizes("dz_a-key-without-dots")
    assert not AccessTokens([], RULES, MemoryAuditLog()).recognizes(sign(claims()))


async def test_a_token_that_is_invalid_in_any_case_needs_no_keys() -> None:
    """Anyone can make such tokens, so they must not cause requests."""
    provider = Provider()
    tokens = provider.tokens()

    for attack in ("no algorithm", "an ID token", "another issuer", "another audience", "expired"):
        await tokens.find(ATTACKS[attack]())

    assert provider.requests == []


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


async def test_the_refusal_of_a_signed_token_is_in_the_log_of_its_submitter() -> None:
    """The entry names issuer and subject. A token that anyone can have made is in the log of the operator."""
    provider = Provider()
    tokens = provider.tokens()
    forged = sign(claims(exp=after(-60)), OTHER)
    assert await tokens.find(sign(claims())) is not None  # the keys are known now
    for token in (sign(claims(exp=after(-60))), sign(claims(aud="https://other.example")), forged):
        assert await tokens.find(token) is None

    await provider.audit_log.wait()
    expired, other, unknown = provider.audit_log.entries
    assert (expired.submitter, expired.actor) == (other.submitter, other.actor) == ("station-7", "token of station")
    assert expired.details == f"issuer {ISSUER}, subject station-7: expired_token: The token is expired"
    assert "aud" in other.details
    assert unknown == (None, "unknown", "token.refused", "expired_token: The token is expired")


async def test_forged_tokens_do_not_flood_the_log_of_the_operator() -> None:
    """Beyond the limit, the log of the process has the reasons. Signed tokens still get an entry."""
    provider = Provider()
    tokens = provider.tokens()
    assert await tokens.find(sign(claims())) is not None
    for number in range(MAX_OPERATOR_NOTES + 20):
        assert await tokens.find(f"a.b.{number}") is None
    assert await tokens.find(sign(claims(exp=after(-60)))) is None

    await provider.audit_log.wait()
    submitters = [entry.submitter for entry in provider.audit_log.entries]
    assert (submitters.count(None), submitters.count("station-7")) == (MAX_OPERATOR_NOTES, 1)


async def test_a_refusal_is_in_the_log_again_on_the_next_day() -> None:
    """The client still sends the token. The limit for the operator also counts each day."""
    provider = Provider()
    tokens = provider.tokens()
    for provider.audit_log.today in (date(2026, 1, 1), date(2026, 1, 2)):
        for number in range(MAX_OPERATOR_NOTES + 1):
            assert await tokens.find(f"a.b.{number}") is None

    await provider.audit_log.wait()
    assert len(provider.audit_log.entries) == 2 * MAX_OPERATOR_NOTES
