"""Authentication: finds the caller to whom a credential, such as an API key, belongs.

The authenticator caches callers for a few seconds, so most requests read nothing from Firestore. A revoked key
stops working when its cache entry expires. Concurrent requests with the same uncached key share one read.

Each address may look up only a few unknown keys per second. A key that was valid at its last read is not subject to
this limit. If an address has reached the limit, a list of all keys shows which of its other keys exist. A flood of
unknown keys therefore does not affect clients with valid keys at the same address, even if their keys are new to this
process.

A request can name another submitter to read the samples and results of that submitter. The caller needs the scope
`read-all`, and the request then has only the scope `read`. Only this module reads the name in the request.
"""

import time
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from typing import NamedTuple

from cachetools import LRUCache

from graphql_api.auth.audit_entry import AuditFacts
from graphql_api.auth.audit_log import AuditLog
from graphql_api.auth.caller import Caller, missing_scope
from graphql_api.auth.credential_source import CredentialSource
from graphql_api.budgets.budgets import Budgets
from graphql_api.credential_errors import InvalidCredential, NoCredential
from graphql_api.graphql_server.requests.request_headers import Credential
from graphql_api.scopes import Scope
from runtime.shared_tasks import SharedTasks
from storage.documents import BadRequest, DropzoneError, document_paths

MAX_CACHED_CALLERS = 10_000
MAX_CACHED_CALLERS_PER_SUBMITTER = 1_000
"""A submitter may have more if the cache is not full."""
_MAX_INVALID_KEYS = 10_000
UNKNOWN_KEY = "unknown key"
"""Stands for the submitter of a key that is not in the cache. No submitter can have this name."""


class CacheEntry(NamedTuple):
    """The caller of a valid credential, and the monotonic time when the credential must be read again."""

    caller: Caller
    expires_at: float


class CallerCache:
    """Cached callers by the SHA-256 of a credential, because an access token can have 8 KiB.

    If there are too many entries, the least recently used one is removed.

    If the submitter of the new entry has many entries, one of its own is removed. The credentials of one submitter
    therefore do not remove all entries of others. An unknown credential is subject to limits that do not apply to a
    cached one.
    """

    def __init__(self) -> None:
        self._entries: OrderedDict[bytes, CacheEntry] = OrderedDict()
        self._of_submitter: dict[str, OrderedDict[bytes, None]] = {}

    def __contains__(self, key: str) -> bool:
        return _digest(key) in self._entries

    def get(self, key: str) -> CacheEntry | None:
        """Return the entry of a credential, or None."""
        key_digest = _digest(key)
        entry = self._entries.get(key_digest)
        if entry is not None:
            self._entries.move_to_end(key_digest)
            self._of_submitter[entry.caller.submitter].move_to_end(key_digest)
        return entry

    def put(self, key: str, entry: CacheEntry) -> None:
        """Add or replace the entry of a credential."""
        key_digest, submitter = _digest(key), entry.caller.submitter
        self._remove(key_digest)
        if len(self._entries) >= MAX_CACHED_CALLERS:
            own = self._of_submitter.get(submitter, ())
            self._remove(next(iter(own if len(own) >= MAX_CACHED_CALLERS_PER_SUBMITTER else self._entries)))
        self._entries[key_digest] = entry
        self._of_submitter.setdefault(submitter, OrderedDict())[key_digest] = None

    def remove(self, key: str) -> None:
        """Remove the entry of a credential, if there is one."""
        self._remove(_digest(key))

    def _remove(self, key_digest: bytes) -> None:
        entry = self._entries.pop(key_digest, None)
        if entry is not None:
            own = self._of_submitter[entry.caller.submitter]
            del own[key_digest]
            if not own:
                del self._of_submitter[entry.caller.submitter]


class Authenticator:
    """Authenticates callers by credentials of several kinds. Used by one event loop."""

    def __init__(
        self,
        sources: Sequence[CredentialSource],
        budgets: Budgets,
        audit_log: AuditLog,
        *,
        cache_seconds: float,
    ) -> None:
        self._sources = sources
        self._budgets = budgets
        self._audit_log = audit_log
        self._cache_seconds = cache_seconds
        self._valid = CallerCache()
        self._invalid: LRUCache[bytes, float] = LRUCache(_MAX_INVALID_KEYS)
        """The monotonic time when an invalid key must be read again, by SHA-256. Valid keys have their own cache."""
        self._reads = SharedTasks[str, Caller | None]()

    async def authenticate(self, credential: Credential) -> Caller:
        """Return the caller that `credential` authenticates.

        Raises `NoCredential` if the key is missing, unknown, expired or revoked. The message is always the same.
        Raises `Unavailable` if Firestore does not respond, and `RateLimited` if the address has sent too many unknown
        keys. Raises `MissingScope` if the request names another submitter and the key does not allow this. Such a
        request counts towards the limits of the key.
        """
        caller = await self._find_owner(credential)
        submitter = credential.submitter
        if submitter is None or submitter == caller.submitter:
            return caller
        try:
            return self._as_reader_of(caller, submitter)
        except DropzoneError:
            if not credential.is_check:
                self._budgets.allowance(caller).admit_request()  # otherwise, the endpoint counts the request
            raise

    def known_submitter(self, key: str | None) -> str:
        """Return the submitter of a key that is in the cache of valid keys.

        For any other key, return a text that is not the name of a submitter. Without a key, return an empty text.
        """
        if not key:
            return ""
        entry = self._valid.get(key)
        return UNKNOWN_KEY if entry is None else entry.caller.submitter

    def _as_reader_of(self, caller: Caller, submitter: str) -> Caller:
        """Return a caller that reads the documents of another submitter. If it has any, its audit log gets an entry."""
        if Scope.READ_ALL not in caller.scopes:
            self._note_refusal(caller, submitter)
            raise missing_scope(Scope.READ_ALL, caller)
        if not document_paths.is_submitter(submitter):
            raise BadRequest("expected the name of a submitter in the header x-submitter")
        actor = f"{caller.credential} of {caller.submitter}"
        facts = AuditFacts(reason=f"the scope {Scope.READ_ALL}")
        self._audit_log.add_once_per_day(
            submitter, actor, actor=actor, action="submitter.read", facts=facts, is_claimed=True
        )
        return caller.reader_of(submitter)

    def _note_refusal(self, caller: Caller, submitter: str) -> None:
        """Add to the audit log of the caller's own submitter that the caller has named another one.

        The other submitter may not exist, and anyone with a key could write to its log.
        """
        name = submitter if document_paths.is_submitter(submitter) else "that is not valid"
        facts = AuditFacts(
            reason=(
                f"the request names the submitter {name}, but its credential does not have the scope {Scope.READ_ALL}"
            )
        )
        credential = caller.credential
        self._audit_log.add_once_per_day(
            caller.submitter, credential, actor=credential, action="submitter.refused", facts=facts
        )

    async def _find_owner(self, credential: Credential) -> Caller:
        key = credential.key
        entry = self._valid.get(key) if key else None
        if entry is not None and time.monotonic() < entry.expires_at:
            return entry.caller
        caller = await self._find_caller(key, credential.address) if key else None
        if caller is None:
            error = NoCredential if key is None else InvalidCredential
            raise error("send a valid API key in the header x-api-key, or an access token as Authorization: Bearer")
        # A read can be shared by 1,000 requests.
        await self._budgets.request_turns.wait(partial(self.known_submitter, key))
        return caller

    def forget(self, key: str) -> None:
        """Remove a key from the cache, because it is no longer valid. Its next use reads it from Firestore."""
        self._valid.remove(key)

    async def _find_caller(self, key: str, address: str) -> Caller | None:
        source = next((source for source in self._sources if source.recognizes(key)), None)
        if source is None or time.monotonic() < self._invalid.get(_digest(key), 0):
            return None
        if key in self._valid:
            return await self._reads.run(key, partial(self._read, source, key))
        return await self._reads.run(key, partial(self._read_unknown, source, key, address))

    async def _read_unknown(self, source: CredentialSource, key: str, address: str) -> Caller | None:
        attempts = self._budgets.addresses.attempts(address, source.kind)
        async with attempts.running.hold(1):
            if attempts.failed.delay_seconds and not await source.was_stored(key):
                attempts.failed.check()
            caller = await self._read(source, key)
            if caller is None:
                attempts.failed.take(1)
        return caller

    async def _read(self, source: CredentialSource, key: str) -> Caller | None:
        expires_at = time.monotonic() + self._cache_seconds  # counted from before the read, which may be slow
        found = await source.find(key)
        if found is None:
            self._valid.remove(key)
            self._invalid[_digest(key)] = expires_at
            return None
        ends_at = time.monotonic() + found.valid_seconds
        self._valid.put(key, CacheEntry(found.caller, min(expires_at, ends_at) if source.is_revocable else ends_at))
        return found.caller


def _digest(key: str) -> bytes:
    """Return a key of the caches. It takes 65 bytes instead of the 113 of the hexadecimal id of a stored credential."""
    return sha256(key.encode()).digest()
