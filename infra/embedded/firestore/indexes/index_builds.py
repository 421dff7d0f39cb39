"""Index builds: add entries of new indexes and delete entries of removed indexes, in steps, while the server runs.

A build covers one collection group. It first deletes the entries of indexes that are no longer defined. It then adds
the missing entries, document by document. The position is part of the same transaction as the entries, so a build
continues after a crash. Writes maintain all defined indexes from the start, so a step and the writes between two steps
need no other coordination.
"""

import json
import logging
import sqlite3
import time
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from infra.embedded.firestore.encoding import checksums, path_encoding
from infra.embedded.firestore.indexes import entries
from infra.embedded.firestore.indexes.catalog import Catalog
from infra.embedded.firestore.indexes.definitions import CompositeIndex, Definitions
from infra.embedded.firestore.indexes.entries import DocumentIndexer
from infra.embedded.firestore.indexes.entry_tables import EntryTables
from infra.embedded.firestore.indexes.index_registry import IndexRegistry
from infra.embedded.firestore.messages import Document

FIELD_DEFINITIONS = "field_definitions"
"""The setting with the field definitions of the last start, by collection group."""

DELETED_ENTRIES = 500
"""The number of entries that one statement deletes."""

_NEXT_DOCUMENTS = """
SELECT d.path, v.sequence, v.document, v.checksum FROM documents d JOIN versions v ON v.sequence = d.version
WHERE d.collection_number = ? AND d.path > ? ORDER BY d.path
"""
_COUNT = "SELECT count(*), count(path <= :position OR NULL) FROM documents WHERE collection_number = :number"

logger = logging.getLogger(__name__)


def apply_definitions(
    connection: sqlite3.Connection, catalog: Catalog, registry: IndexRegistry, drop_undefined: bool
) -> None:
    """Register the defined indexes, and plan the builds that the file needs. Write nothing if nothing has changed.

    If `drop_undefined` is true, drop composite indexes that have no definition.
    """
    registry.load(connection)
    defined = registry.definitions
    for number, index in registry.indexes().items():
        if drop_undefined and index not in defined.composite_indexes:
            registry.drop(connection, number)
    for index in defined.composite_indexes:
        registry.add(connection, index)
    row = connection.execute("SELECT value FROM settings WHERE name = ?", (FIELD_DEFINITIONS,)).fetchone()
    old: dict[str, str] = json.loads(row[0]) if row else {}
    groups = {collection_id for collection_id, _ in defined.field_overrides} | set(defined.ttl_fields)
    new = {collection_id: defined.fields_to_json(collection_id) for collection_id in sorted(groups)}
    if new != old:
        connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (FIELD_DEFINITIONS, json.dumps(new)))
    groups |= old.keys() | registry.earlier.keys() | set(registry.dropped.values())
    groups |= {index.collection_id for index in registry.indexes().values()}
    no_fields = Definitions()
    for collection_id in sorted(groups):
        text = no_fields.fields_to_json(collection_id)
        earlier = old.get(collection_id, text)
        _plan_build(
            connection, catalog, registry, collection_id, None if earlier == new.get(collection_id, text) else earlier
        )


def add_index(connection: sqlite3.Connection, catalog: Catalog, registry: IndexRegistry, index: CompositeIndex) -> None:
    """Register an index, and plan its build unless it is complete."""
    registry.add(connection, index)
    _plan_build(connection, catalog, registry, index.collection_id, None)


def _plan_build(
    connection: sqlite3.Connection, catalog: Catalog, registry: IndexRegistry, collection_id: str, earlier: str | None
) -> None:
    """Start, restart or continue a build. `earlier` has the earlier field definitions if they have changed."""
    row = connection.execute(
        "SELECT earlier, target FROM index_builds WHERE collection_id = ?", (collection_id,)
    ).fetchone()
    history: list[str] = json.loads(row[0]) if row else []
    if earlier is not None and earlier not in history:
        history.append(earlier)
    incomplete = sorted(registry.incomplete_indexes(collection_id))
    dropped = sorted(number for number, group in registry.dropped.items() if group == collection_id)
    if not (row or earlier is not None or incomplete or dropped):
        return
    if not any(group == collection_id for _, group in catalog.numbers):
        registry.finish(connection, collection_id)  # nothing to build
        return
    target = json.dumps([registry.definitions.fields_to_json(collection_id), incomplete, dropped])
    if row is None or row[1] != target:
        connection.execute(
            "INSERT OR REPLACE INTO index_builds VALUES (?, ?, ?, 0, 0, x'')",
            (collection_id, json.dumps(history), target),
        )
        registry.load(connection)


class Step(NamedTuple):
    """The work of one step of a build."""

    deleted_entries: int
    documents: int


def advance(
    connection: sqlite3.Connection, catalog: Catalog, registry: IndexRegistry, collection_id: str, seconds: float
) -> Step | None:
    """Do the next part of a build, in about `seconds`. Return None if there is nothing left to do."""
    position = _position(connection, collection_id)
    if position is None:
        return None
    deadline = time.monotonic() + seconds
    numbers = sorted(number for number, (_, group) in list(catalog.names.items()) if group == collection_id)
    if not position.is_cleared:
        position, deleted = _clear(connection, registry, numbers, position, deadline)
        _save(connection, position)
        return Step(deleted, 0)
    indexer = registry.build_indexer(collection_id)
    for number in numbers:
        if indexer is None or number < position.collection_number:
            continue
        after = position.key if number == position.collection_number else b""
        documents, last = _add_entries(connection, number, indexer, after, deadline)
        if documents:
            _save(connection, _Position(collection_id, True, number, last))
            return Step(0, documents)
    return None


def finish(connection: sqlite3.Connection, registry: IndexRegistry, collection_id: str, target: str | None) -> bool:
    """Mark all indexes of a build as complete, after `advance` has returned None and its commit is visible.

    Return False if the build was started again, because another index was added. For `target`, see `build_target`.
    """
    if build_target(connection, collection_id) != target:
        return False
    registry.finish(connection, collection_id)
    return True


def build_target(connection: sqlite3.Connection, collection_id: str) -> str | None:
    """Return a text that identifies the work of a build, or None if no build is planned."""
    row = connection.execute("SELECT target FROM index_builds WHERE collection_id = ?", (collection_id,)).fetchone()
    return None if row is None else str(row[0])


def count_documents(connection: sqlite3.Connection, catalog: Catalog, collection_id: str) -> tuple[int, int]:
    """Return the number of documents of a build that are done, and the number of all documents."""
    position = _position(connection, collection_id)
    done = total = 0
    for number, (_, group) in list(catalog.names.items()):
        if group == collection_id:
            parameters = {"number": number, "position": position and position.key}
            count, before = connection.execute(_COUNT, parameters).fetchone()
            total += count
            if position is not None and position.is_cleared and number <= position.collection_number:
                done += count if number < position.collection_number else before
    return done, total


class _Position(NamedTuple):
    """The progress of a build. `key` is the last path, or the next index key while entries are deleted."""

    collection_id: str
    is_cleared: bool
    collection_number: int
    key: bytes


def _position(connection: sqlite3.Connection, collection_id: str) -> _Position | None:
    sql = "SELECT collection_id, is_cleared, collection_number, position FROM index_builds WHERE collection_id = ?"
    row = connection.execute(sql, (collection_id,)).fetchone()
    return None if row is None else _Position(row[0], bool(row[1]), row[2], row[3])


def _save(connection: sqlite3.Connection, position: _Position) -> None:
    connection.execute(
        "UPDATE index_builds SET is_cleared = ?, collection_number = ?, position = ? WHERE collection_id = ?",
        (position.is_cleared, position.collection_number, position.key, position.collection_id),
    )


def _clear(
    connection: sqlite3.Connection, registry: IndexRegistry, numbers: list[int], position: _Position, deadline: float
) -> tuple[_Position, int]:
    """Delete entries of removed and incomplete indexes until the deadline.

    Return the new position and the number of deleted entries.
    """
    deleted = 0
    tables = EntryTables(connection)
    for number in numbers:
        if number < position.collection_number:
            continue
        low = position.key if number == position.collection_number else b""
        while (key := tables.first_key(number, low)) is not None:
            low, end = key, entries.after_index(entries.index_prefix(key))
            if _keeps_entries(registry, position.collection_id, entries.index_prefix(key)):
                low = end
            else:
                deleted += tables.delete_range(number, low, end, DELETED_ENTRIES)
            if time.monotonic() > deadline:
                return _Position(position.collection_id, False, number, low), deleted
    return _Position(position.collection_id, True, 0, b""), deleted


def _keeps_entries(registry: IndexRegistry, collection_id: str, prefix: bytes) -> bool:
    number = entries.composite_number(prefix)
    if number is not None:
        return number in registry.stored_indexes()
    path, kind = entries.field_of_prefix(prefix)
    every = registry.definitions, *registry.earlier[collection_id]
    return all(kind in each.entry_kinds(collection_id, path) for each in every)


def _add_entries(
    connection: sqlite3.Connection, number: int, indexer: DocumentIndexer, after: bytes, deadline: float
) -> tuple[int, bytes]:
    """Add the entries of the documents after a path until the deadline. Return their number and the last path."""
    count = 0
    added: list[tuple[bytes, int]] = []
    for path, sequence, raw, checksum in connection.execute(_NEXT_DOCUMENTS, (number, after)):
        count, after = count + 1, path
        segments = path_encoding.decode_path(path)
        document = _parsed(raw, sequence, checksum)
        if document is None:
            logger.error("A document is damaged and gets no index entries: %s", "/".join(segments))
        else:
            added += indexer.entries(path, segments[-1], document).items()
        if time.monotonic() > deadline:
            break
    EntryTables(connection).add_missing(number, sorted(added))
    return count, after


def _parsed(raw: bytes, sequence: int, checksum: int | None) -> Any | None:
    """Return a stored document, or None if it is damaged."""
    if not checksums.matches(raw, sequence, checksum):
        return None
    try:
        return Document.FromString(raw)
    except DecodeError:  # a document without a checksum
        return None
