"""API keys in Firestore. The id of each document is the SHA-256 of the key."""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime

from cachetools import LRUCache

from graphql_api.auth.api_keys import ApiKey, is_key
from graphql_api.auth.audit_entry import AuditFacts
from graphql_api.auth.audit_log import AuditLog
from graphql_api.auth.caller import MAX_LABEL_BYTES, Caller
from graphql_api.auth.credential_source import FoundCaller
from graphql_api.auth.secret_text import SHOWN_DIGITS, digest
from graphql_api.budgets.loop_turns import LoopTurns
from graphql_api.client_text import shorten
from runtime.shared_tasks import SharedTasks
from storage.documents import DropzoneError, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError
from storage.firestore.messages import Document, StructuredQuery, Write
from storage.firestore.reads.query_conditions import add_condition, add_name_condition
from storage.firestore.writes.group_commit_writer import GroupCommitWriter

_MAX_NOTED = 10_000
_MAX_LISTED_KEYS = 10_000
_LIST_SECONDS = 10.0
_AFTER_DIGITS = "g"
"""Sorts after all hexadecimal digits."""
_Operator = StructuredQuery.FieldFilter

logger = logging.getLogger("graphql_api")


class KeyStore:
    """Reads and writes API keys by their digest: the SHA-256 of the key in hexadecimal."""

    kind = "key"
    is_revocable = True

    def __init__(self, firestore: Firestore, writer: GroupCommitWriter, audit_log: AuditLog, turns: LoopTurns) -> None:
        self._firestore = firestore
        self._turns = turns
        self._writer = writer
        self._audit_log = audit_log
        self._noted_uses: LRUCache[str, datetime] = LRUCache(_MAX_NOTED)
        """The last day for which this process has stored the use of a key, by digest."""
        self._writes: set[asyncio.Task[None]] = set()
        self._lists = SharedTasks[None, frozenset[str]](shared_seconds=_LIST_SECONDS)

    def recognizes(self, text: str) -> bool:
        """Return whether `text` has the form of a key."""
        return is_key(text)

    async def was_stored(self, text: str) -> bool:
        """Return whether a key was stored some seconds ago. False if there are too many keys to list them."""
        return digest(text) in await self._lists.run(None, self._digests)

    async def find(self, text: str) -> FoundCaller | None:
        """Return the caller to whom a key belongs, or None if the key is not valid now."""
        return await self.find_by_digest(digest(text))

    async def find_by_digest(self, key_digest: str) -> FoundCaller | None:
        """Return the caller to whom the key with this digest belongs, or None if the key is not valid now."""
        api_key = await self.read(key_digest)
        if api_key is None:
            return None
        seconds = api_key.remaining_seconds()
        if seconds <= 0:
            self.note_refusal(key_digest, api_key)
            return None
        self.note_use(key_digest, api_key)
        name = f"key {key_digest[:SHOWN_DIGITS]}"
        label = shorten(api_key.label, MAX_LABEL_BYTES) or name
        caller = Caller(api_key.submitter, api_key.scopes, name, api_key.expires, api_key.limits, label)
        return FoundCaller(caller, seconds)

    def note_use(self, key_digest: str, api_key: ApiKey) -> None:
        """Store in the background that a key was used today. At most one write per key, day and process."""
        today = _today()
        if today not in (api_key.last_used, self._noted_uses.get(key_digest)):
            self._noted_uses[key_digest] = today
            task = asyncio.create_task(_without_errors(self._writer.write(self.change(key_digest, last_used=today))))
            self._writes.add(task)
            task.add_done_callback(self._writes.discard)

    def note_refusal(self, key_digest: str, api_key: ApiKey) -> None:
        """Add to the audit log in the background that a revoked or expired key was refused.

        This adds at most one entry per key, day and process, so a client cannot flood the log.
        """
        name = f"key {key_digest[:SHOWN_DIGITS]}"
        reason = "expired" if api_key.revoked is None else "revoked"
        facts = AuditFacts(key_digest=key_digest, label=api_key.label, reason=reason)
        self._audit_log.add_once_per_day(api_key.submitter, key_digest, actor=name, action="key.refused", facts=facts)

    async def read(self, key_digest: str) -> ApiKey | None:
        """Return the API key with this digest, or None if it does not exist."""
        path = document_paths.api_key(key_digest)
        documents = await self._firestore.batch_get([path])
        return ApiKey.from_fields(encoding.from_document(documents[path])) if path in documents else None

    async def read_all(self, submitter: str | None, digest_prefix: str = "") -> dict[str, ApiKey]:
        """Return the API keys of a submitter, or of all submitters, whose digest starts with a prefix, by digest.

        A damaged document is logged and left out. Requests with its key fail.
        """
        query = _query(submitter)
        if digest_prefix:
            first, end = (document_paths.api_key(digest_prefix + more) for more in ("", _AFTER_DIGITS))
            add_name_condition(query, _Operator.GREATER_THAN_OR_EQUAL, self._firestore.name(first))
            add_name_condition(query, _Operator.LESS_THAN, self._firestore.name(end))
        documents = await self._firestore.documents("", query)
        keys = await self._turns.of(submitter or "").map(_key_or_none, documents)
        digests = (document_paths.id_of(document.name) for document in documents)
        return {found: key for found, key in zip(digests, keys, strict=True) if key is not None}

    async def _digests(self) -> frozenset[str]:
        """Return the digests of all API keys, or none if there are more than `_MAX_LISTED_KEYS`."""
        query = _query(None)
        query.select.fields.add(field_path="__name__")
        query.limit.value = _MAX_LISTED_KEYS + 1
        documents = await self._firestore.page("", query)
        if len(documents) > _MAX_LISTED_KEYS:
            return frozenset()
        return frozenset(document_paths.id_of(document.name) for document in documents)

    async def count(self, submitter: str) -> int:
        """Return the number of API keys of a submitter, including revoked and expired keys."""
        return await self._firestore.count("", _query(submitter))

    async def commit(self, writes: Sequence[Write]) -> None:
        """Apply changes of keys and the entries of the audit log about them, or none of them."""
        await self._firestore.commit(writes)

    def creation(self, key_digest: str, api_key: ApiKey) -> Write:
        """Return the `Write` that stores an API key under its digest.

        It replaces a key that is already stored under the digest.
        """
        return encoding.to_write(self._firestore.name(document_paths.api_key(key_digest)), api_key.fields())

    def change(self, key_digest: str, **fields: object) -> Write:
        """Return the `Write` that replaces some fields of a stored API key.

        A concurrent change of another field is kept.
        """
        write = encoding.to_partial_write(self._firestore.name(document_paths.api_key(key_digest)), fields)
        write.current_document.exists = True
        return write

    async def delete(self, key_digest: str) -> None:
        """Delete an API key. A request with this key is then a request with an unknown key."""
        await self._writer.write(encoding.to_delete(self._firestore.name(document_paths.api_key(key_digest))))


def _query(submitter: str | None) -> StructuredQuery:
    query = StructuredQuery()
    query.from_.add(collection_id=document_paths.API_KEYS)
    if submitter is not None:
        add_condition(query, "submitter", _Operator.EQUAL, submitter)
    return query


def _key_or_none(document: Document) -> ApiKey | None:
    """Return a stored key, or None if its document is damaged."""
    try:
        return ApiKey.from_fields(encoding.from_document(document))
    except (KeyError, TypeError, ValueError) as error:
        path = document.name.partition("/documents/")[2]
        logger.warning("the API key %s is damaged, so it is left out: %r; delete this document", path, error)
        return None


def _today() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


async def _without_errors(writing: Coroutine[None, None, object]) -> None:
    with contextlib.suppress(DropzoneError, FirestoreError):  # the use is stored on the next day
        await writing
