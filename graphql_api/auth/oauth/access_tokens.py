"""Access tokens of identity providers: signed JSON Web Tokens of the form in RFC 9068.

The type of the token must be `at+jwt`. The API therefore refuses other signed tokens of the provider, such as ID
tokens. Only asymmetric algorithms are allowed, so that a token cannot be signed with a public key of the provider.
"""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry, extract_compact, validate_compact
from joserfc.jwt import JWTClaimsRegistry

from graphql_api.auth.audit_entry import AuditFacts
from graphql_api.auth.audit_log import AuditLog
from graphql_api.auth.caller import MAX_LABEL_BYTES, Caller
from graphql_api.auth.credential_source import FoundCaller
from graphql_api.auth.oauth.issuer_keys import IssuerKeys
from graphql_api.auth.oauth.provider_metadata import ProviderMetadata
from graphql_api.auth.secret_text import digest
from graphql_api.client_text import shorten
from graphql_api.configuration.identity_providers import IssuerSettings
from graphql_api.scopes import Scope
from storage.documents import document_paths

MAX_TOKEN_BYTES = 8_192
_TYPES = ("at+jwt", "application/at+jwt")
_MAX_SUBJECT_BYTES = 200
_CLOCK_SKEW_SECONDS = 5
_LAST_SECOND = datetime.max.replace(microsecond=0, tzinfo=UTC)
"""The latest time of expiry that a `datetime` can hold."""
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519")
_REGISTRY = JWSRegistry(algorithms=_ALGORITHMS, strict_check_header=False)

logger = logging.getLogger("graphql_api")


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenRules:
    """The required contents of a token, and their meanings."""

    audience: str
    submitter_claim: str
    scope_claim: str
    scopes: Mapping[str, str]
    """The provider's name of each scope of this API."""


class _Refused(Exception):
    """The token is not valid. The log contains the reason. Clients see the same message for all reasons."""


_INVALID = (JoseError, _Refused, ValueError, TypeError, AttributeError, RecursionError, OverflowError)
"""The errors of a token that is not valid."""


class AccessTokens:
    """Finds callers by their access tokens."""

    kind = "token"
    is_revocable = False
    """A token is valid until it expires: the API does not ask the provider about a token."""

    def __init__(
        self,
        issuers: Sequence[IssuerSettings],
        rules: TokenRules,
        audit_log: AuditLog,
        keys: Mapping[str, IssuerKeys] | None = None,
    ) -> None:
        self._issuers = {issuer.url: issuer for issuer in issuers}
        self._keys = keys or {issuer.url: IssuerKeys(ProviderMetadata(issuer.url)) for issuer in issuers}
        self._rules = rules
        self._audit_log = audit_log

    def metadata_of(self, issuer: IssuerSettings) -> ProviderMetadata:
        """Return the metadata of an issuer."""
        return self._keys[issuer.url].metadata

    def recognizes(self, text: str) -> bool:
        """Return whether `text` can be a signed token: three parts, and not too long."""
        return bool(self._issuers) and text.count(".") == 2 and len(text) <= MAX_TOKEN_BYTES and text.isascii()

    async def was_stored(self, text: str) -> bool:
        """Return False: tokens are not stored."""
        del text
        return False

    async def find(self, text: str) -> FoundCaller | None:
        """Return the caller of a token, or None if the token is not valid now."""
        try:
            issuer, claims = await self._verify(text)
            return self._caller(issuer, claims)
        except _INVALID as error:
            reason = shorten(str(error) or type(error).__name__)
            logger.info("refused an access token: %s", reason)
            self._note_refusal(text, reason)
            return None

    def _note_refusal(self, text: str, reason: str) -> None:
        """Add to an audit log in the background that a token was refused.

        If an issuer has signed the token for a submitter, the note is in the log of this submitter. Otherwise, anyone
        can have made the token, and the note is in the log of the operator.
        """
        submitter, actor, facts = None, "unknown", AuditFacts(reason=reason)
        try:
            issuer, claims = self._signed(text)
            subject = shorten(str(claims.get("sub")), _MAX_SUBJECT_BYTES)
            facts = AuditFacts(issuer=issuer.url, subject=subject, reason=reason)
            actor = f"token of {_client(claims)}"
            submitter = self._submitter(issuer, claims)
        except _INVALID:
            pass
        self._audit_log.add_once_per_day(submitter, digest(text), actor=actor, action="token.refused", facts=facts)

    def _signed(self, text: str) -> tuple[IssuerSettings, dict[str, object]]:
        """Return the issuer and the claims of a token that a known key has signed. Sends no request to the provider."""
        token = extract_compact(text.encode(), registry=_REGISTRY)
        claims = json.loads(token.payload or b"")
        issuer = self._issuers.get(str(claims.get("iss")))
        key = None if issuer is None else self._keys[issuer.url].known(token.headers().get("kid"))
        if issuer is None or key is None or not validate_compact(token, key, registry=_REGISTRY):
            raise _Refused("no known key of a configured issuer has signed the token")
        return issuer, claims

    async def _verify(self, text: str) -> tuple[IssuerSettings, dict[str, object]]:
        token = extract_compact(text.encode(), registry=_REGISTRY)
        header = token.headers()
        kind = header.get("typ")
        if not isinstance(kind, str) or kind.lower() not in _TYPES:
            raise _Refused(f"expected the type at+jwt, got {kind}")
        _REGISTRY.get_alg(header["alg"])
        claims = json.loads(token.payload or b"")
        if not isinstance(claims, dict):
            raise _Refused("expected a JSON object as the payload")
        issuer = self._issuers.get(str(claims.get("iss")))
        if issuer is None:
            raise _Refused(f"the issuer {claims.get('iss')} is not in DROPZONE_OIDC_ISSUERS")
        self._check(claims)  # before the signature, because an invalid token should not cause a request for keys
        key = await self._keys[issuer.url].find(header.get("kid"))
        if key is None:
            raise _Refused(f"the issuer {issuer.url} has no key {header.get('kid')}")
        if not validate_compact(token, key, registry=_REGISTRY):
            raise _Refused("the signature is wrong")
        return issuer, claims

    def _check(self, claims: dict[str, object]) -> None:
        JWTClaimsRegistry(
            leeway=_CLOCK_SKEW_SECONDS,
            iss={"essential": True},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            aud={"essential": True, "values": [self._rules.audience]},
        ).validate(claims)
        expires = claims["exp"]
        if not isinstance(expires, int | float) or expires <= time.time():
            raise _Refused("the token has expired")

    def _caller(self, issuer: IssuerSettings, claims: Mapping[str, object]) -> FoundCaller:
        rules = self._rules
        submitter = self._submitter(issuer, claims)
        expires = claims["exp"]
        assert isinstance(expires, int | float)
        granted = _texts(claims.get(rules.scope_claim))
        scopes = frozenset(Scope(ours) for ours, theirs in rules.scopes.items() if theirs in granted)
        client = _client(claims)
        ends = datetime.fromtimestamp(min(expires, _LAST_SECOND.timestamp()), UTC)
        person = f"{issuer.url} {claims['sub']}"
        caller = Caller(submitter, scopes, f"token of {client}", ends, label=client, person=person)
        return FoundCaller(caller, expires - time.time())

    def _submitter(self, issuer: IssuerSettings, claims: Mapping[str, object]) -> str:
        claim = self._rules.submitter_claim
        name = claims.get(claim)
        submitter = f"{issuer.prefix}.{name}" if issuer.prefix else name
        if not isinstance(name, str) or not isinstance(submitter, str) or not document_paths.is_submitter(submitter):
            raise _Refused(f"expected the claim {claim} to name a submitter, such as `station-7`, got {name!r}")
        if not issuer.prefix and any(submitter.startswith(f"{other.prefix}.") for other in self._prefixed()):
            raise _Refused(f"the name {submitter} has the prefix of another issuer")
        return submitter

    def _prefixed(self) -> list[IssuerSettings]:
        return [issuer for issuer in self._issuers.values() if issuer.prefix]


def _client(claims: Mapping[str, object]) -> str:
    """Return the client to which a token was issued."""
    return shorten(str(claims.get("client_id") or claims.get("azp") or claims.get("sub")), MAX_LABEL_BYTES)


def _texts(value: object) -> set[str]:
    """Return the values of a claim: the words of a text, or a list of texts."""
    if isinstance(value, str):
        return set(value.split())
    return {each for each in value if isinstance(each, str)} if isinstance(value, list) else set()
