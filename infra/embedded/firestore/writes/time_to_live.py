"""Time to live (TTL): deletes documents whose expiration time has passed.

The index definitions name the expiration field of a collection group. An expired document is deleted by a normal
commit, so triggers and listeners receive the change. If the machine's clock is set forward, documents do not expire
early: see storage/steady_clock.py.
"""

import contextlib
import logging
import sqlite3
from functools import partial

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.encoding import path_encoding, resource_names, values
from infra.embedded.firestore.encoding.field_paths import FieldPath
from infra.embedded.firestore.errors import StatusError
from infra.embedded.firestore.indexes import entries
from infra.embedded.firestore.indexes.entry_tables import EntryTables
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.storage.versions import DocumentVersion, current
from infra.embedded.firestore.writes import commits
from infra.embedded.firestore.writes.document_write import PreparedWrite

BATCH_SIZE = 500

logger = logging.getLogger(__name__)


async def delete_expired(storage: Storage, collection_id: str, field: FieldPath) -> None:
    """Delete the documents of a collection group whose expiration time in `field` has passed."""
    low = entries.single_field_prefix(field, by_element=False, is_group=True) + values.TIMESTAMP
    high = low[:-1] + values.encode(m.Value(timestamp_value=m.timestamp(storage.steady_clock.now())))
    for (database, numbered_id), number in list(storage.catalog.numbers.items()):
        start: bytes | None = low if numbered_id == collection_id else None
        while start is not None:
            read = partial(_expired, collection_number=number, low=start, high=high)
            expired, start = await storage.read(read)
            if expired:
                deletions = [
                    _deletion(resource_names.ResourceName(database, path_encoding.decode_path(path)), stored)
                    for path, stored in expired
                ]
                await storage.write(
                    partial(commits.batch_write, writes=deletions, check_conflicts=commits.no_conflicts)
                )
                logger.info("Deleted %d expired documents of collection group %s", len(expired), collection_id)


def _expired(
    connection: sqlite3.Connection, collection_number: int, low: bytes, high: bytes
) -> tuple[list[tuple[bytes, DocumentVersion]], bytes | None]:
    """Return the path and the version of documents with an index entry from `low` up to but not including `high`.

    Also return the next `low`, or None after the last entry. Leave damaged documents out: they cannot be
    deleted, because their other index entries are unknown. They must not prevent the deletion of other documents.
    """
    expired = []
    rows = list(EntryTables(connection).scan(collection_number, low, high, limit=BATCH_SIZE))
    for key, size in rows:
        path = entries.path_of(key, size)
        with contextlib.suppress(StatusError):  # damaged, which the read has logged
            stored = current(connection, collection_number, path)
            if stored is not None:
                expired.append((path, stored))
    return expired, rows[-1][0] + b"\0" if len(rows) == BATCH_SIZE else None


def _deletion(name: resource_names.ResourceName, stored: DocumentVersion) -> PreparedWrite:
    """Return a delete with the update time of `stored` as its precondition. It fails if a later write exists."""
    update_time = m.microseconds(m.Document.FromString(stored.document).update_time)
    return PreparedWrite(
        name=name,
        full_name=str(name),
        path=name.path,
        update=m.Document(),
        is_delete=True,
        mask=None,
        transforms=(),
        exists=None,
        update_time=update_time,
    )
