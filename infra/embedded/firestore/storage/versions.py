"""Documents as rows: every version once, the current one pointed to, the earlier ones by when they ended.

`versions` is append-only, its rows are both the bodies of documents and the feed of changes. `documents`
points to the current version of each path, `history` to superseded versions by the time that they were
valid until, so that a read at a past time is the same look-up with one more step.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from infra.embedded.firestore.encoding import path_encoding, resource_names
from infra.embedded.firestore.errors import ReadTimeTooOld
from infra.embedded.firestore.indexes.catalog import Catalog

_CURRENT = """
SELECT v.sequence, v.commit_time, v.document FROM documents d JOIN versions v ON v.sequence = d.version
WHERE d.collection_number = ? AND d.path = ?
"""
_EARLIER = """
SELECT v.sequence, v.commit_time, v.document FROM history h JOIN versions v ON v.sequence = h.version
WHERE h.collection_number = ? AND h.path = ? AND h.until > ? ORDER BY h.until LIMIT 1
"""
_CHANGES = """
SELECT c.sequence, c.commit_time, c.collection_number, c.path, p.document, c.document
FROM versions c LEFT JOIN versions p ON p.sequence = c.previous
WHERE c.sequence > ? ORDER BY c.sequence LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """A version of a document that exists."""

    sequence: int
    commit_time: int
    document: bytes


@dataclass(frozen=True, slots=True)
class Change:
    """One document before and after one commit; None where it did not exist."""

    sequence: int
    commit_time: int
    name: str
    old: bytes | None
    new: bytes | None


def current(connection: sqlite3.Connection, collection_number: int, path: bytes) -> Stored | None:
    """Return the current version of a document."""
    row = connection.execute(_CURRENT, (collection_number, path)).fetchone()
    return Stored(*row) if row else None


def at(connection: sqlite3.Connection, collection_number: int, path: bytes, read_time: int) -> Stored | None:
    """Return the version of a document that was current at `read_time`."""
    row = connection.execute(_CURRENT, (collection_number, path)).fetchone()
    if row is None or row[1] > read_time:
        row = connection.execute(_EARLIER, (collection_number, path, read_time)).fetchone()
        if row is None or row[1] > read_time:
            return None
    return Stored(*row)


def changes(connection: sqlite3.Connection, catalog: Catalog, after: int, limit: int) -> Iterator[Change]:
    """Yield the changes after a sequence, in the order of their commits; a limit of -1 is none."""
    for sequence, commit_time, collection_number, path, old, new in connection.execute(_CHANGES, (after, limit)):
        database, _ = catalog.names[collection_number]
        name = str(resource_names.ResourceName(database, path_encoding.decode_path(path)))
        yield Change(sequence, commit_time, name, old, new)


def last(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return sequence and commit time of the newest version."""
    row = connection.execute("SELECT sequence, commit_time FROM versions ORDER BY sequence DESC LIMIT 1").fetchone()
    return row or (0, 0)


def pruned(connection: sqlite3.Connection) -> int:
    """Return the sequence up to which changes may be gone."""
    row = connection.execute("SELECT value FROM settings WHERE name = 'pruned'").fetchone()
    return 0 if row is None else int(row[0])


def check_reach(connection: sqlite3.Connection, read_time: int) -> None:
    """Raise unless every version of `read_time` is there still."""
    if committed(connection, pruned(connection)) > read_time:
        raise ReadTimeTooOld


def committed(connection: sqlite3.Connection, sequence: int) -> int:
    """Return when the last version up to a sequence was committed; 0 if none of them is there any more."""
    sql = "SELECT commit_time FROM versions WHERE sequence <= ? ORDER BY sequence DESC LIMIT 1"
    row = connection.execute(sql, (sequence,)).fetchone()
    return 0 if row is None else int(row[0])


def sequence_at(connection: sqlite3.Connection, read_time: int) -> int:
    """Return the last sequence that was committed at `read_time` or before; commit times rise with it."""
    low, high = 0, last(connection)[0]
    while low < high:
        middle = (low + high + 1) // 2
        row = connection.execute(
            "SELECT sequence, commit_time FROM versions WHERE sequence <= ? ORDER BY sequence DESC LIMIT 1", (middle,)
        ).fetchone()
        if row is None or row[1] <= read_time:
            low = middle
        else:
            high = row[0] - 1
    return low


def find(
    connection: sqlite3.Connection, catalog: Catalog, name: resource_names.ResourceName, read_time: int
) -> Stored | None:
    """Return the version of a document, by its name, that was current at `read_time`."""
    collection_number = catalog.number(name.database, name.collection_id)
    return None if collection_number is None else at(connection, collection_number, name.path, read_time)


def superseded_since(connection: sqlite3.Connection, read_time: int, most: int) -> Iterator[tuple[int, bytes]]:
    """Yield collection number and path of every document whose version at `read_time` is no longer current.

    Documents that were created since then may be among them. Up to `most` changes are looked through
    one by one; beyond that, only what was superseded is.
    """
    after = sequence_at(connection, read_time)
    if last(connection)[0] - after <= most:
        yield from connection.execute(
            "SELECT DISTINCT collection_number, path FROM versions WHERE sequence > ? AND previous IS NOT NULL",
            (after,),
        )
    else:
        yield from connection.execute(
            "SELECT DISTINCT collection_number, path FROM history WHERE until > ?", (read_time,)
        )
