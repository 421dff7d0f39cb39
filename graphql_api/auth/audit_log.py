"""The audit log: who did what to the keys, samples and results of a submitter, and when.

Entries are only added. Firestore deletes an entry after 400 days (time to live).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from storage.documents import document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.group_commit_writer import GroupCommitWriter
from storage.firestore.messages import StructuredQuery

RETENTION = timedelta(days=400)
MAX_ENTRIES = 500

_DESCENDING = 2


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One action."""

    id: str
    at: datetime
    actor: str
    """The credential that acted, such as `key 0123456789ab`, or `operator` for the command line."""
    action: str
    details: str


class AuditLog:
    """Adds entries to the log of a submitter, and reads them."""

    def __init__(self, firestore: Firestore, writer: GroupCommitWriter) -> None:
        self._firestore = firestore
        self._writer = writer

    async def add(self, submitter: str, *, actor: str, action: str, details: str) -> None:
        """Store an entry. It cannot replace another one."""
        now = datetime.now(UTC)
        name = self._firestore.name(document_paths.audit_entry(submitter, str(uuid4())))
        fields = {"at": now, "actor": actor, "action": action, "details": details, "expires": now + RETENTION}
        write = encoding.to_write(name, fields)
        write.current_document.exists = False
        await self._writer.write(write)

    async def read(self, submitter: str, first: int, before: datetime | None = None) -> list[AuditEntry]:
        """Return the newest entries of a submitter, or the newest ones before a time."""
        newest = StructuredQuery(limit={"value": min(first, MAX_ENTRIES)})
        newest.from_.add(collection_id=document_paths.AUDIT_LOG)
        newest.order_by.add(field={"field_path": "at"}, direction=_DESCENDING)
        if before is not None:
            newest.start_at.values.append(encoding.to_value(before))
            newest.start_at.before = False
        documents = await self._firestore.documents(document_paths.submitter(submitter), newest)
        return [_entry(document) for document in documents]


def _entry(document: Any) -> AuditEntry:
    fields = encoding.from_document(document)
    at = fields["at"]
    assert isinstance(at, datetime)
    texts = (str(fields[name]) for name in ("actor", "action", "details"))
    return AuditEntry(document.name.rpartition("/")[2], at, *texts)
