"""What is no longer needed: versions that nobody can read any more, documents past their time.

A superseded version goes when it is older than reads of the past may reach and everybody who follows the
changes has seen what superseded it. Documents expire by a field that the index definitions name; they
are deleted as a client would delete them, so that triggers and listeners hear of it.
"""

import asyncio
import logging
import sqlite3
from functools import partial

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.encoding import path_encoding, resource_names, values
from infra.embedded.firestore.encoding.field_paths import FieldPath
from infra.embedded.firestore.indexes import entries
from infra.embedded.firestore.storage import change_consumers
from infra.embedded.firestore.storage.clock import now
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.storage.versions import Stored, current, sequence_at
from infra.embedded.firestore.storage.writer import Group
from infra.embedded.firestore.writes import commits
from infra.embedded.firestore.writes.document_write import PreparedWrite

STEP = 500
EVERY_SECONDS = 5.0

_SUPERSEDING = """
SELECT sequence, commit_time, previous, collection_number, path, document IS NULL FROM versions
WHERE sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?
"""

logger = logging.getLogger(__name__)


async def keep_tidy(storage: Storage) -> None:
    """Prune and expire, a little at a time, until cancelled.

    Not at once: whoever follows the changes must first have said where it stands.
    """
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        try:
            await prune(storage)
            for collection_id, field in storage.indexes.defined.expiries.items():
                await expire(storage, collection_id, field)
        except Exception:  # whatever it was, the next time may be better, and nobody else would say so
            logger.exception("Pruning failed; it is tried again in %s seconds", EVERY_SECONDS)


async def prune(storage: Storage) -> None:
    """Delete the versions that nobody needs, in steps between other work."""
    oldest = now() - int(storage.keep_seconds * 1_000_000)
    last = await storage.read(lambda connection: sequence_at(connection, oldest - 1))
    after = -1
    while after < storage.pruned < last:
        after = storage.pruned
        storage.pruned = await storage.execute(partial(_prune, after=after, last=last))


def _prune(connection: sqlite3.Connection, after: int, last: int) -> int:
    last = min(last, change_consumers.seen_by_all(connection, last))
    rows = connection.execute(_SUPERSEDING, (after, last, STEP)).fetchall()
    if not rows:
        return after
    gone = [(previous,) for _, _, previous, _, _, _ in rows if previous is not None]
    pruned = int(rows[-1][0])  # stays, even a deletion: it tells how far reads reach, and no sequence is used twice
    gone += [(sequence,) for sequence, _, _, _, _, deleted in rows if deleted and sequence < pruned]
    ended = [
        (collection_number, path, until)
        for _, until, previous, collection_number, path, _ in rows
        if previous is not None
    ]
    connection.executemany("DELETE FROM history WHERE collection_number = ? AND path = ? AND until = ?", ended)
    connection.executemany("DELETE FROM versions WHERE sequence = ?", gone)
    connection.execute("DELETE FROM versions WHERE sequence = ? AND document IS NULL", (after,))  # stayed until now
    connection.execute("INSERT OR REPLACE INTO settings VALUES ('pruned', ?)", (pruned,))
    return pruned


async def expire(storage: Storage, collection_id: str, field: FieldPath) -> None:
    """Delete documents whose time has come."""
    base = entries.single(field, contains=False, group=True) + values.TIMESTAMP
    end = base[:-1] + values.encode(m.Value(timestamp_value=m.timestamp(now())))
    for (database, owner), collection_number in list(storage.catalog.numbers.items()):
        while owner == collection_id:
            due = await storage.read(partial(_due, collection_number=collection_number, low=base, high=end))
            if due:
                deletions = [
                    _deletion(resource_names.ResourceName(database, path_encoding.decode_path(path)), stored)
                    for path, stored in due
                ]
                await storage.write(partial(_delete, deletions))
                logger.info("%d documents of %s have expired", len(due), collection_id)
            if len(due) < STEP:
                break


def _due(connection: sqlite3.Connection, collection_number: int, low: bytes, high: bytes) -> list[tuple[bytes, Stored]]:
    found = []
    sql = "SELECT key, size FROM entries WHERE collection_number = ? AND key >= ? AND key < ? LIMIT ?"
    for key, size in connection.execute(sql, (collection_number, low, high, STEP)):
        path = entries.path_of(key, size)
        stored = current(connection, collection_number, path)
        if stored is not None:
            found.append((path, stored))
    return found


def _deletion(name: resource_names.ResourceName, stored: Stored) -> PreparedWrite:
    """Return the deletion of a document as it was seen: one that was written since is left alone."""
    update_time = m.microseconds(m.Document.FromString(stored.document).update_time)
    return PreparedWrite(name, str(name), name.path, m.Document(), True, None, (), None, update_time)


def _delete(deletions: list[PreparedWrite], group: Group) -> None:
    commits.batch(group, deletions, lambda pending: None)
