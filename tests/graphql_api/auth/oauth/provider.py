"""An identity provider without a network, and the access tokens that it signs."""

import asyncio
import json
import time
from collections.abc import Mapping
from datetime import date
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.registry import HeaderParameter

from graphql_api.auth.audit_entry import AuditFacts
from graphql_api.auth.audit_log import AuditLog
from graphql_api.auth.oauth.access_tokens import AccessTokens, TokenRules
from graphql_api.auth.oauth.issuer_keys import IssuerKeys
from graphql_api.auth.oauth.provider_metadata import ProviderError, ProviderMetadata
from graphql_api.budgets.loop_turns import LoopTurns
from graphql_api.configuration.identity_providers import IssuerSettings
from storage.firestore.client import Firestore
from storage.firestore.writes.group_commit_writer import GroupCommitWriter

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
OTHER_EC = ECKey.generate_key("P-256", {"kid": "ec"})


class Entry(NamedTuple):
    """An entry of an audit log."""

    submitter: str | None
    actor: str
    action: str
    details: str


class MemoryAuditLog(AuditLog):
    """Keeps entries in a list instead of Firestore. `today` changes only if a test sets it."""

    def __init__(self) -> None:
        firestore, writer = cast(Firestore, SimpleNamespace()), cast(GroupCommitWriter, SimpleNamespace())
        super().__init__(firestore, writer, LoopTurns(), lambda: self.today)
        self.today = date(2026, 1, 1)
        self.entries: list[Entry] = []

    async def add(self, submitter: str | None, *, actor: str, action: str, facts: AuditFacts) -> None:
        """Keep an entry."""
        self.entries.append(Entry(submitter, actor, action, facts.sentence))


class Provider:
    """A provider whose keys, addresses and failures a test changes. `now` is the time in seconds."""

    def __init__(self, issuer: str = ISSUER) -> None:
        self.issuer = self.endpoints = issuer
        self.published: list[Any] = [RSA, EC, ED]
        self.is_down = False
        self.requests: list[str] = []
        self.now = 1_000.0
        self.audit_log = MemoryAuditLog()

    async def fetch(self, url: str) -> Mapping[str, object]:
        """Respond like the provider."""
        self.requests.append(url)
        for _ in range(5):  # other tasks run meanwhile
            await asyncio.sleep(0)
        if self.is_down:
            raise ProviderError("no response")
        if url.endswith("/.well-known/openid-configuration"):
            return {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.endpoints}/authorize",
                "jwks_uri": f"{self.endpoints}/jwks",
            }
        if url != f"{self.endpoints}/jwks":
            raise ProviderError("not found")
        return {
            "keys": [
                key.as_dict(private=False) if isinstance(key, RSAKey | ECKey | OKPKey) else key
                for key in self.published
            ]
        }

    def tokens(self, *issuers: IssuerSettings) -> AccessTokens:
        """Return the source of callers that asks this provider."""
        accepted = issuers or (IssuerSettings(self.issuer),)
        keys = {each.url: self.keys(each.url) for each in accepted}
        return AccessTokens(accepted, RULES, self.audit_log, keys)

    def keys(self, issuer: str) -> IssuerKeys:
        """Return the keys of an issuer that this provider answers for."""
        return IssuerKeys(ProviderMetadata(issuer, self.fetch, lambda: self.now), lambda: self.now)


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
    with_all = jws.JWSRegistry(
        {name: HeaderParameter("of an attack", validate=lambda _: None) for name in ("odd", "b64")},
        algorithms=["RS256", "PS256", "ES256", "Ed25519", "HS256"],
        strict_check_header=False,
    )
    return jws.serialize_compact({k: v for k, v in protected.items() if v is not None}, text, key, registry=with_all)
