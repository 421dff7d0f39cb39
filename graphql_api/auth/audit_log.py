"""The audit log: who did what to the keys, samples and results of a submitter, and when.

Each submitter has a log. The operator has a log of actions that belong to no submitter, such as the refusal of a forged
token. Entries are never changed. Firestore deletes an entry after 400 days (time to live).
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from uuid import uuid4

from cachetools import LRUCache, TTLCache

from graphql_api.auth.audit_entry import AuditEntry, AuditFacts
from graphql_api.budgets.loop_turns import LoopTurns
from storage.documents import DropzoneError, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError
from storage.firestore.messages import Document, StructuredQuery, Write
from storage.firestore.writes.group_commit_writer import GroupCommitWriter

RETENTION = timedelta(days=400)
MAX_ENTRIES = 500
MAX_OPERATOR_NOTES = 100
"""The maximum number of entries that `add_once_per_day` adds to the log of the operator per day and process.

Anyone can cause such entries.
"""

_MAX_NOTED = 10_000
_MISSING_SECONDS = 5.0
"""How long a submitter without documents is remembered."""


class AuditLog:
    """Adds entries to the log of a submitter, and reads them."""

    def __init__(
        self,
        firestore: Firestore,
        writer: GroupCommitWriter,
        turns: LoopTurns,
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
    ) -> None:
        self._today = today
        self._firestore = firestore
        self._writer = writer
        self._turns = turns
        self._noted: LRUCache[tuple[str | None, str, str], date] = LRUCache(_MAX_NOTED)
        """The day of the last entry of `add_once_per_day` for each submitter, action and subject."""
        self._missing: TTLCache[str, bool] = TTLCache(_MAX_NOTED, _MISSING_SECONDS)
        """Submitters that have no documents."""
        self._operator_notes: tuple[date, int] = (date.min, 0)
        self._writes: set[asyncio.Task[None]] = set()

    def add_once_per_day(
        self,
        submitter: str | None,
        subject: str,
        *,
        actor: str,
        action: str,
        facts: AuditFacts,
        is_claimed: bool = False,
    ) -> None:
        """Add an entry about `subject` in the background, unless this process has added one today.

        A client therefore cannot flood the log by repeating a request. If Firestore does not store the entry, the next
        call tries again.

        With `is_claimed`, a client has chosen the name of the submitter. If this submitter has no documents, no entry
        is added: the entry would be its first document, and rollups and audits would then read it every minute.
        """
        today = self._today()
        noted = submitter, action, subject
        if self._noted.get(noted) == today or (is_claimed and submitter in self._missing):
            return
        if submitter is None:
            day, count = self._operator_notes
            count = count + 1 if day == today else 1
            if count > MAX_OPERATOR_NOTES:
                return
            self._operator_notes = today, count
        self._noted[noted] = today
        add = partial(self.add, submitter, actor=actor, action=action, facts=facts)
        task = asyncio.create_task(self._store(noted, add, is_claimed=is_claimed))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def _store(
        self, noted: tuple[str | None, str, str], add: Callable[[], Awaitable[None]], *, is_claimed: bool
    ) -> None:
        submitter = noted[0]
        try:
            if is_claimed and submitter is not None and not await self._has_documents(submitter):
                self._missing[submitter] = True
                self._noted.pop(noted, None)
                return
            await add()
        except (DropzoneError, FirestoreError):  # the log of the process already reports the outage
            self._noted.pop(noted, None)

    async def _has_documents(self, submitter: str) -> bool:
        query = StructuredQuery(limit={"value": 1})
        query.from_.add(all_descendants=True)
        query.select.fields.add(field_path="__name__")
        return bool(await self._firestore.documents(document_paths.submitter(submitter), query))

    async def wait(self) -> None:
        """Wait until all entries of `add_once_per_day` are stored."""
        await asyncio.gather(*self._writes)

    async def add(self, submitter: str | None, *, actor: str, action: str, facts: AuditFacts) -> None:
        """Store an entry."""
        await self._writer.write(self.entry(submitter, actor=actor, action=action, facts=facts), submitter or "")

    def entry(self, submitter: str | None, *, actor: str, action: str, facts: AuditFacts) -> Write:
        """Return the `Write` of an entry about a change. One Commit contains it and the writes of the change.

        Otherwise, a client could prevent the entry if it ends its request after the change. The entry has a random id
        and no precondition, so the Commit can be sent again if the response of Firestore is lost.
        """
        now = datetime.now(UTC)
        name = self._firestore.name(document_paths.audit_entry(submitter, str(uuid4())))
        entry = {"at": now, "actor": actor, "action": action, "details": facts.sentence, "expires": now + RETENTION}
        return encoding.to_write(name, entry | facts.fields())

    async def read(self, submitter: str | None, first: int, before: datetime | None = None) -> list[AuditEntry]:
        """Return the newest entries of a submitter. With `before`, return the newest entries before this time."""
        newest = StructuredQuery(limit={"value": min(first, MAX_ENTRIES)})
        newest.from_.add(collection_id=document_paths.AUDIT_LOG)
        newest.order_by.add(field={"field_path": "at"}, direction=StructuredQuery.DESCENDING)
        if before is not None:
            newest.start_at.values.append(encoding.to_value(before))
            newest.start_at.before = False
        parent = "" if submitter is None else document_paths.submitter(submitter)
        documents = await self._firestore.documents(parent, newest)
        return await self._turns.of(submitter or "").map(_entry, documents)


def _entry(document: Document) -> AuditEntry:
    fields = encoding.from_document(document)
    at = fields["at"]
    assert isinstance(at, datetime)
    actor, action, details = (str(fields[name]) for name in ("actor", "action", "details"))
    return AuditEntry(document_paths.id_of(document.name), at, actor, action, details, AuditFacts.from_fields(fields))
