"""Time to live (TTL): deletes documents whose expiration time has passed.

The index definitions name the expiration field of a collection group. An expired document is deleted by a normal
commit, so triggers and listeners receive the change. If the machine's clock is set forward, documents do not expire
early: see `SteadyClock`.
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
from infra.embedded.firestore.storage.versions import current
from infra.embedded.firestore.writes import commits
from infra.embedded.firestore.writes.document_write import PreparedWrite

BATCH_SIZE = 500
BATCH_BYTES = 8 * 1024 * 1024
"""A commit holds the deleted documents in memory, so large documents are deleted in smaller batches."""

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
                    _deletion(resource_names.ResourceName(database, path_encoding.decode_path(path)), update_time)
                    for path, update_time in expired
                ]
                count = await storage.write(partial(commits.delete, deletions=deletions))
                logger.info("Deleted %d expired documents of collection group %s", count, collection_id)


def _expired(
    connection: sqlite3.Connection, collection_number: int, low: bytes, high: bytes
) -> tuple[list[tuple[bytes, int]], bytes | None]:
    """Return the path and the update time of documents with an index entry from `low` up to but not including `high`.

    Also return the next `low`, or None after the last entry. Leave damaged documents out: they cannot be
    deleted, because their other index entries are unknown. They must not prevent the deletion of other documents.
    """
    expired: list[tuple[bytes, int]] = []
    batch_bytes = 0
    rows = list(EntryTables(connection).scan(collection_number, low, high, limit=BATCH_SIZE))
    for key, size in rows:
        path = entries.path_of(key, size)
        with contextlib.suppress(StatusError):  # damaged, which the read has logged
            stored = current(connection, collection_number, path)
            if stored is not None:
                update_time = m.Document.FromString(stored.document).update_time
                expired.append((path, m.microseconds(update_time)))
                batch_bytes += len(stored.document)
        if batch_bytes > BATCH_BYTES:
            return expired, key + b"\0"
    return expired, rows[-1][0] + b"\0" if len(rows) == BATCH_SIZE else None


def _deletion(name: resource_names.ResourceName, update_time: int) -> PreparedWrite:
    """Return a delete with an update time as its precondition. It fails if a later write exists."""
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
