"""Queries for document versions: the current version, the version at a read time, and changes.

`history` points to each superseded version, by the time when a newer version replaced it. A read at a past time
therefore needs one more look-up than a read of the current version. The tables are defined in file_format.py.
"""

import json
import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import chain
from typing import Any

from infra.embedded.firestore.encoding import checksums, path_encoding, resource_names
from infra.embedded.firestore.errors import ReadTimeTooOld, data_loss
from infra.embedded.firestore.indexes.catalog import Catalog

_CURRENT = """
SELECT v.sequence, v.commit_time, v.document, v.checksum FROM documents d JOIN versions v ON v.sequence = d.version
WHERE d.collection_number = ? AND d.path = ?
"""
_CURRENT_OF_EACH = """
WITH wanted (collection_number, path) AS (VALUES {})
SELECT w.path, v.sequence, v.commit_time, v.document, v.checksum FROM wanted w
LEFT JOIN documents d ON d.collection_number = w.collection_number AND d.path = w.path
LEFT JOIN versions v ON v.sequence = d.version
"""
_SUPERSEDED = """
SELECT v.sequence, v.commit_time, v.document, v.checksum FROM history h JOIN versions v ON v.sequence = h.version
WHERE h.collection_number = ? AND h.path = ? AND h.until > ? ORDER BY h.until LIMIT 1
"""
_CHANGES = """
SELECT c.sequence, c.commit_time, c.collection_number, c.path, c.previous,
    p.document, p.checksum, c.document, c.checksum
FROM versions c LEFT JOIN versions p ON p.sequence = c.previous
WHERE c.sequence > ? ORDER BY c.sequence LIMIT ?
"""
_CHANGES_AT = """
SELECT c.sequence, c.commit_time, c.collection_number, c.path, c.previous,
    p.document, p.checksum, c.document, c.checksum
FROM versions c LEFT JOIN versions p ON p.sequence = c.previous
WHERE c.sequence IN (SELECT value FROM json_each(?)) ORDER BY c.sequence
"""
_CHANGED_DOCUMENTS = """
SELECT c.path, c.previous, p.document, p.checksum, c.sequence, c.document, c.checksum
FROM versions c LEFT JOIN versions p ON p.sequence = c.previous
WHERE c.sequence > ? AND c.sequence <= ? AND c.collection_number = ? ORDER BY c.sequence
"""
_CHANGED_NAMES = "SELECT sequence, collection_number, path FROM versions WHERE sequence > ? ORDER BY sequence LIMIT ?"
_UP_TO = "SELECT sequence, commit_time FROM versions WHERE sequence <= ? ORDER BY sequence DESC LIMIT 1"
_NEWEST = "SELECT sequence, commit_time FROM versions ORDER BY sequence DESC LIMIT 1"

MAX_PAGE_BYTES = 16 * 1024 * 1024
MAX_REPORTS = 1_000

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DocumentVersion:
    """A version of an existing document. `document` is a serialized Document message."""

    sequence: int
    commit_time: int
    document: bytes


@dataclass(frozen=True, slots=True)
class Change:
    """A document before and after a commit. None means that the document did not exist at that time.

    Empty bytes mean that the stored document is damaged.
    """

    sequence: int
    commit_time: int
    name: str
    old: bytes | None
    new: bytes | None


def current(connection: sqlite3.Connection, collection_number: int, path: bytes) -> DocumentVersion | None:
    """Return the current version of a document."""
    row = connection.execute(_CURRENT, (collection_number, path)).fetchone()
    return _verified(row, path) if row else None


def current_of_each(
    connection: sqlite3.Connection, documents: Sequence[tuple[int, bytes]]
) -> Iterator[DocumentVersion | None]:
    """Yield the current version of each document, or None, in order. A document is a collection number and a path.

    Together, 50 look-ups take 7 µs of CPU time each instead of 12.
    """
    if not documents:
        return
    for path, sequence, *rest in connection.execute(_current_of(len(documents)), [*chain.from_iterable(documents)]):
        yield None if sequence is None else _verified((sequence, *rest), path)


@cache
def _current_of(count: int) -> str:
    return _CURRENT_OF_EACH.format(", ".join(["(?, ?)"] * count))


def at(connection: sqlite3.Connection, collection_number: int, path: bytes, read_time: int) -> DocumentVersion | None:
    """Return the version of a document that was current at `read_time`."""
    row = _row_at(connection, collection_number, path, read_time)
    return _verified(row, path) if row else None


def existed(connection: sqlite3.Connection, collection_number: int, path: bytes, read_time: int) -> bool:
    """Return whether a document existed at `read_time`. The document may be damaged."""
    return _row_at(connection, collection_number, path, read_time) is not None


def _row_at(connection: sqlite3.Connection, collection_number: int, path: bytes, read_time: int) -> Any:
    row = connection.execute(_CURRENT, (collection_number, path)).fetchone()
    if row is None or row[1] > read_time:
        row = connection.execute(_SUPERSEDED, (collection_number, path, read_time)).fetchone()
    return None if row is None or row[1] > read_time else row


def damaged(connection: sqlite3.Connection, collection_number: int, path: bytes) -> DocumentVersion:
    """Return the current version of a damaged document, without its content."""
    sequence, commit_time, *_ = connection.execute(_CURRENT, (collection_number, path)).fetchone()
    return DocumentVersion(sequence, commit_time, b"")


def _verified(row: tuple[int, int, bytes, int | None], path: bytes) -> DocumentVersion:
    """Return the version in a row. Raise DATA_LOSS if the document does not match its checksum."""
    sequence, commit_time, document, checksum = row
    if not checksums.matches(document, sequence, checksum):
        name = "/".join(path_encoding.decode_path(path))
        _report_damage(name, sequence)
        raise data_loss(name)
    return DocumentVersion(sequence, commit_time, document)


def find(
    connection: sqlite3.Connection, catalog: Catalog, name: resource_names.ResourceName, read_time: int
) -> DocumentVersion | None:
    """Return the version of the document `name` that was current at `read_time`."""
    number = catalog.number(name.database, name.collection_id)
    return None if number is None else at(connection, number, name.path, read_time)


def find_page(
    connection: sqlite3.Connection,
    catalog: Catalog,
    names: Iterable[resource_names.ResourceName],
    read_time: int,
    max_bytes: int,
) -> list[DocumentVersion | None]:
    """Return the versions of the first documents in `names`: all, or fewer if they have more than `max_bytes`."""
    page: list[DocumentVersion | None] = []
    size = 0
    for name in names:
        page.append(stored := find(connection, catalog, name, read_time))
        size += 0 if stored is None else len(stored.document)
        if size > max_bytes:
            break
    return page


def changes(connection: sqlite3.Connection, catalog: Catalog, after: int, limit: int) -> Iterator[Change]:
    """Yield the changes after a sequence in commit order. A limit of -1 means no limit."""
    for row in connection.execute(_CHANGES, (after, limit)):
        yield _change(catalog, row)


def page_of_changes(connection: sqlite3.Connection, catalog: Catalog, after: int, limit: int) -> list[Change]:
    """Return the changes after a sequence in commit order: up to `limit`, or fewer if they are large."""
    page: list[Change] = []
    size = 0
    for change in changes(connection, catalog, after, limit):
        page.append(change)
        size += len(change.old or b"") + len(change.new or b"")
        if size > MAX_PAGE_BYTES:
            break
    return page


def changes_at(connection: sqlite3.Connection, catalog: Catalog, sequences: Sequence[int]) -> Iterator[Change]:
    """Yield the changes with these sequences in commit order."""
    for row in connection.execute(_CHANGES_AT, (json.dumps(list(sequences)),)):
        yield _change(catalog, row)


def changed_names(
    connection: sqlite3.Connection, catalog: Catalog, after: int, limit: int
) -> Iterator[tuple[int, str]]:
    """Yield the sequence and the document name of the changes after a sequence, in commit order."""
    for sequence, number, path in connection.execute(_CHANGED_NAMES, (after, limit)):
        yield sequence, _name(catalog, number, path)


def changed_paths(connection: sqlite3.Connection, after: int, limit: int) -> set[tuple[int, bytes]] | None:
    """Return collection number and path of each document that changed after a sequence. Return None if over `limit`."""
    rows = connection.execute(_CHANGED_NAMES, (after, limit + 1)).fetchall()
    return {(number, path) for _, number, path in rows} if len(rows) <= limit else None


def changed_documents(
    connection: sqlite3.Connection, collection_number: int, after: int, last: int
) -> Iterator[tuple[bytes, bytes | None, bytes | None]]:
    """Yield path, old and new document of the changes after a sequence up to `last`, in one collection.

    None means that the document did not exist. Empty bytes mean that the stored document is damaged.
    """
    for path, previous, old, old_checksum, sequence, new, checksum in connection.execute(
        _CHANGED_DOCUMENTS, (after, last, collection_number)
    ):
        is_damaged = [
            document is not None and not checksums.matches(document, number, stored)
            for document, number, stored in ((old, previous, old_checksum), (new, sequence, checksum))
        ]
        yield path, b"" if is_damaged[0] else old, b"" if is_damaged[1] else new


def _change(catalog: Catalog, row: tuple[Any, ...]) -> Change:
    sequence, commit_time, number, path, previous, old, old_checksum, new, checksum = row
    name = _name(catalog, number, path)
    old = None if old is None else _intact(old, previous, old_checksum, name)
    new = None if new is None else _intact(new, sequence, checksum, name)
    return Change(sequence, commit_time, name, old, new)


def _name(catalog: Catalog, number: int, path: bytes) -> str:
    database, _ = catalog.names[number]
    return str(resource_names.ResourceName(database, path_encoding.decode_path(path)))


def _intact(document: bytes, sequence: int, checksum: int | None, name: str) -> bytes:
    """Return a document, or empty bytes if it does not match its checksum."""
    if checksums.matches(document, sequence, checksum):
        return document
    _report_damage(name, sequence)
    return b""


@lru_cache(maxsize=MAX_REPORTS)  # log each damaged version once
def _report_damage(name: str, sequence: int) -> None:
    logger.error("The stored document %s is damaged (sequence %d)", name, sequence)


def newest(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return the sequence and the commit time of the newest version, or (0, 0)."""
    return connection.execute(_NEWEST).fetchone() or (0, 0)


def pruned_sequence(connection: sqlite3.Connection) -> int:
    """Return the sequence up to which changes may have been pruned."""
    row = connection.execute("SELECT value FROM settings WHERE name = 'pruned'").fetchone()
    return 0 if row is None else int(row[0])


def check_retained(connection: sqlite3.Connection, read_time: int) -> None:
    """Raise `ReadTimeTooOld` if versions that were current at `read_time` may have been pruned."""
    if commit_time_up_to(connection, pruned_sequence(connection)) > read_time:
        raise ReadTimeTooOld


def commit_time_up_to(connection: sqlite3.Connection, sequence: int) -> int:
    """Return the commit time of the last stored version up to a sequence, or 0."""
    row = connection.execute(_UP_TO, (sequence,)).fetchone()
    return 0 if row is None else int(row[1])


def sequence_at(connection: sqlite3.Connection, read_time: int) -> int:
    """Return the last sequence that was committed at or before `read_time`. Commit times ascend with sequences."""
    low, high = 0, newest(connection)[0]
    while low < high:
        middle = (low + high + 1) // 2
        row = connection.execute(_UP_TO, (middle,)).fetchone()
        if row is None or row[1] <= read_time:
            low = middle
        else:
            high = row[0] - 1
    return low
