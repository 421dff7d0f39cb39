"""Backfill: add index entries for the documents that are older than the index.

`backfill` processes a limited number of documents, so that it does not block the writer for long.
`apply_definitions` runs once, when the data file is opened.
"""

import json
import sqlite3

from infra.embedded.firestore.encoding import path_encoding
from infra.embedded.firestore.indexes.catalog import Catalog
from infra.embedded.firestore.indexes.definitions import Definitions
from infra.embedded.firestore.indexes.entries import DocumentIndexer
from infra.embedded.firestore.indexes.index_registry import IndexRegistry
from infra.embedded.firestore.messages import Document

STEP_DOCUMENTS = 500

_NEXT_DOCUMENTS = """
SELECT d.path, v.document FROM documents d JOIN versions v ON v.sequence = d.version
WHERE d.collection_number = ? AND d.path > ? ORDER BY d.path LIMIT ?
"""


def backfill(
    connection: sqlite3.Connection, collection_number: int, indexer: DocumentIndexer, after: bytes
) -> bytes | None:
    """Add the missing entries of the next documents after the path `after`.

    Return the path of the last processed document, or None if all documents are processed.
    """
    rows = connection.execute(_NEXT_DOCUMENTS, (collection_number, after, STEP_DOCUMENTS)).fetchall()
    for path, document in rows:
        keys = indexer.entries(path, path_encoding.decode_path(path)[-1], Document.FromString(document))
        connection.executemany(
            "INSERT OR IGNORE INTO entries (collection_number, key, size) VALUES (?, ?, ?)",
            [(collection_number, key, size) for key, size in keys.items()],
        )
    return rows[-1][0] if len(rows) == STEP_DOCUMENTS else None


def apply_definitions(
    connection: sqlite3.Connection, catalog: Catalog, registry: IndexRegistry, drop_undefined: bool
) -> None:
    """Make the indexes in the file match the definitions. No other connection may use the file during this call.

    If `drop_undefined` is true, drop composite indexes that have no definition.
    """
    registry.load(connection)
    defined = registry.definitions.composite_indexes
    for number, index in registry.indexes().items():
        if (drop_undefined and index not in defined) or not registry.is_complete(number):
            registry.drop(connection, number)
    existing = set(registry.indexes().values())
    outdated = {index.collection_id for index in defined if index not in existing}
    for index in defined:
        registry.mark_complete(connection, registry.add(connection, index))
    outdated |= _groups_with_changed_fields(connection, registry.definitions)
    for (_, collection_id), collection_number in list(catalog.numbers.items()):
        if collection_id in outdated or "*" in outdated:
            connection.execute("DELETE FROM entries WHERE collection_number = ?", (collection_number,))
            after: bytes | None = b""
            while after is not None:
                after = backfill(connection, collection_number, registry.indexer(collection_id), after)


def _groups_with_changed_fields(connection: sqlite3.Connection, definitions: Definitions) -> set[str]:
    """Store the field overrides, and return the collection groups whose overrides have changed."""
    overrides: dict[str, list[str]] = {}
    for (collection_id, path), modes in definitions.field_overrides.items():
        overrides.setdefault(collection_id, []).append(repr((path, sorted(modes))))
    for collection_id, path in definitions.ttl_fields.items():
        overrides.setdefault(collection_id, []).append(repr(("ttl", path)))
    new = {collection_id: sorted(parts) for collection_id, parts in overrides.items()}
    row = connection.execute("SELECT value FROM settings WHERE name = 'overrides'").fetchone()
    old = json.loads(row[0]) if row else {}
    connection.execute("INSERT OR REPLACE INTO settings VALUES ('overrides', ?)", (json.dumps(new),))
    return {
        collection_id for collection_id in old.keys() | new.keys() if old.get(collection_id) != new.get(collection_id)
    }
