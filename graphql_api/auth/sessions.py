"""Browser sessions. A web page gets a session in exchange for a sign-in link or an API key.

A session is a secret in a cookie. Scripts cannot read the cookie, and it expires after half a day. A page therefore
never holds a key. A session that stands for a key ends when the key is revoked or expires. A key or a person has a
limited number of sessions: if there is one more, the session that expires first ends.

A sign-in link contains a token that works once. Firestore stores only the SHA-256 of tokens and sessions.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from weakref import WeakValueDictionary

from graphql_api.auth.audit_entry import AuditFacts
from graphql_api.auth.audit_log import AuditLog
from graphql_api.auth.caller import Caller
from graphql_api.auth.credential_source import FoundCaller
from graphql_api.auth.key_store import KeyStore
from graphql_api.auth.secret_text import digest, is_secret, new_secret
from graphql_api.scopes import Scope
from storage.documents import document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import PreconditionFailed
from storage.firestore.messages import StructuredQuery
from storage.firestore.reads.query_conditions import add_condition
from storage.firestore.writes.group_commit_writer import GroupCommitWriter

SESSION_LIFETIME = timedelta(hours=12)
TOKEN_LIFETIME = timedelta(hours=24)
TOKEN_RETENTION = timedelta(days=7)
"""How long the token of an expired link is stored, so that the audit log can name its key."""
SESSION_PREFIX = "dzs_"
MAX_SESSIONS = 100
"""The sessions of one key, or of one person who signs in at an identity provider."""


@dataclass(frozen=True, slots=True)
class Session:
    """The stored document of a session. `key_digest` is None if it was started with an access token."""

    submitter: str
    scopes: frozenset[Scope]
    credential: str
    expires: datetime
    key_digest: str | None

    def fields(self) -> dict[str, object]:
        """Return the fields of the stored document."""
        return {
            "submitter": self.submitter,
            "scopes": sorted(self.scopes),
            "credential": self.credential,
            "expires": self.expires,
            "key_digest": self.key_digest,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, object]) -> "Session":
        """Read the fields of a stored document. Raises `TypeError` if they are not a session."""
        scopes, expires, key_digest = fields["scopes"], fields["expires"], fields["key_digest"]
        if not isinstance(scopes, list) or not isinstance(expires, datetime):
            raise TypeError("expected a stored session with a list `scopes` and a time `expires`")
        return cls(
            submitter=str(fields["submitter"]),
            scopes=frozenset(map(Scope, scopes)),
            credential=str(fields["credential"]),
            expires=expires,
            key_digest=None if key_digest is None else str(key_digest),
        )


class SessionStore:
    """Creates, finds and ends sessions, and exchanges the tokens of sign-in links for sessions."""

    kind = "session"
    is_revocable = True

    def __init__(
        self, firestore: Firestore, writer: GroupCommitWriter, key_store: KeyStore, audit_log: AuditLog
    ) -> None:
        self._firestore = firestore
        self._writer = writer
        self._key_store = key_store
        self._audit_log = audit_log
        self._sign_ins = WeakValueDictionary[str, asyncio.Lock]()
        """Lets one sign-in of a key or person after the other count the sessions."""

    def recognizes(self, text: str) -> bool:
        """Return whether `text` has the form of a session's secret."""
        return is_secret(text, SESSION_PREFIX)

    async def was_stored(self, text: str) -> bool:
        """Return False: there can be too many sessions to list them."""
        del text
        return False

    async def find(self, text: str) -> FoundCaller | None:
        """Return the caller of a session, or None if it has ended or its key is no longer valid."""
        fields = await self._read(document_paths.session(digest(text)))
        if fields is None:
            return None
        session = Session.from_fields(fields)
        seconds = (session.expires - datetime.now(UTC)).total_seconds()
        caller = Caller(
            session.submitter, session.scopes, session.credential, session.expires, label=session.credential
        )
        if session.key_digest is not None:
            of_key = await self._key_store.find_by_digest(session.key_digest)
            if of_key is None:
                return None
            seconds = min(seconds, of_key.valid_seconds)
            caller = replace(caller, limits=of_key.caller.limits, label=of_key.caller.label)
        return FoundCaller(caller, seconds) if seconds > 0 else None

    async def start(self, caller: Caller, key_digest: str | None) -> tuple[str, Session]:
        """Store a new session of `caller`, and return its secret. It expires no later than the caller's credential.

        If its key or person has too many sessions, the session that expires first ends.
        """
        latest = datetime.now(UTC) + SESSION_LIFETIME
        expires = latest if caller.expires is None else min(latest, caller.expires)
        session = Session(caller.submitter, caller.scopes, caller.credential, expires, key_digest)
        secret = new_secret(SESSION_PREFIX)
        name = self._firestore.name(document_paths.session(digest(secret)))
        owner = key_digest or digest(caller.person)
        async with self._sign_ins.setdefault(owner, asyncio.Lock()):
            await self._make_room(owner)
            write = encoding.to_write(name, session.fields() | {"owner": owner})
            await self._writer.write(write, caller.submitter)
        return secret, session

    async def _make_room(self, owner: str) -> None:
        """Delete sessions of a key or person, so that it has fewer than `MAX_SESSIONS`."""
        query = _sessions_of(owner)
        excess = await self._firestore.count("", query) - MAX_SESSIONS + 1
        if excess > 0:
            query.limit.value = excess
            for document in await self._firestore.documents("", query):
                await self._writer.write(encoding.to_delete(document.name))

    async def end(self, secret: str) -> None:
        """Delete a session."""
        await self._writer.write(encoding.to_delete(self._firestore.name(document_paths.session(digest(secret)))))

    async def add_token(self, token: str, key_digest: str) -> None:
        """Store the token of a sign-in link of a key. The token can be used once within a day."""
        name = self._firestore.name(document_paths.sign_in_token(digest(token)))
        usable_until = datetime.now(UTC) + TOKEN_LIFETIME
        fields = {"key_digest": key_digest, "usable_until": usable_until, "expires": usable_until + TOKEN_RETENTION}
        await self._writer.write(encoding.to_write(name, fields))

    async def exchange(self, token: str) -> tuple[str, Session] | None:
        """Start a session for the token of a sign-in link. Returns None if the token was used, expired or is unknown.

        If several requests have the same token, only the request that marks the token as used gets the session. The
        token is stored for `TOKEN_RETENTION` after it has expired, so the audit log can name the key of the link.
        """
        path = document_paths.sign_in_token(digest(token))
        document = (await self._firestore.batch_get([path])).get(path)
        if document is None:
            facts = AuditFacts(reason="the sign-in link is unknown")
            self._audit_log.add_once_per_day(
                None, "sign-in link", actor="unknown", action="sign_in.refused", facts=facts
            )
            return None
        fields = encoding.from_document(document)
        key_digest, usable_until = str(fields["key_digest"]), fields.get("usable_until")
        if not isinstance(usable_until, datetime) or usable_until <= datetime.now(UTC):
            await self._refuse(token, key_digest, "the sign-in link has expired")
            return None
        if fields.get("used_at") is not None:
            await self._refuse(token, key_digest, "the sign-in link was already used")
            return None
        use = encoding.to_partial_write(self._firestore.name(path), {"used_at": datetime.now(UTC)})
        use.current_document.update_time.CopyFrom(document.update_time)
        try:
            await self._writer.write(use)
        except PreconditionFailed:
            await self._refuse(token, key_digest, "the sign-in link was already used")
            return None
        found = await self._key_store.find_by_digest(key_digest)
        return None if found is None else await self.start(found.caller, key_digest)

    async def _refuse(self, token: str, key_digest: str, reason: str) -> None:
        """Add to the audit log of the key's submitter that a link was refused, at most once per link and day."""
        key = await self._key_store.read(key_digest)
        facts = AuditFacts(key_digest=key_digest, label=None if key is None else key.label, reason=reason)
        submitter = None if key is None else key.submitter
        self._audit_log.add_once_per_day(
            submitter, digest(token), actor="unknown", action="sign_in.refused", facts=facts
        )

    async def _read(self, path: str) -> dict[str, object] | None:
        documents = await self._firestore.batch_get([path])
        return encoding.from_document(documents[path]) if path in documents else None


def _sessions_of(owner: str) -> StructuredQuery:
    """Return the query of the sessions of a key or person. The session that expires first is the first."""
    query = StructuredQuery()
    query.from_.add(collection_id=document_paths.SESSIONS)
    add_condition(query, "owner", StructuredQuery.FieldFilter.EQUAL, owner)
    query.order_by.add(direction=StructuredQuery.ASCENDING).field.field_path = "expires"
    return query
