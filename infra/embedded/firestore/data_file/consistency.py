"""A complete check of a data file: SQLite's own check, the checksums of documents, and the index entries."""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import chain

from google.protobuf.message import DecodeError

from infra.embedded.firestore.encoding import checksums, path_encoding
from infra.embedded.firestore.indexes import definitions
from infra.embedded.firestore.indexes.catalog import Catalog
from infra.embedded.firestore.indexes.definitions import Definitions
from infra.embedded.firestore.indexes.entries import DocumentIndexer
from infra.embedded.firestore.indexes.entry_tables import EntryTables
from infra.embedded.firestore.indexes.index_builds import FIELD_DEFINITIONS
from infra.embedded.firestore.indexes.index_registry import IndexRegistry
from infra.embedded.firestore.messages import Document

_POINTERS = """
SELECT t.collection_number, t.path FROM {table} t LEFT JOIN versions v ON v.sequence = t.version
WHERE v.sequence IS NULL OR v.path != t.path OR v.collection_number != t.collection_number
"""
_DOCUMENTS = """
SELECT d.path, v.document FROM documents d JOIN versions v ON v.sequence = d.version WHERE d.collection_number = ?
"""


def problems(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield the problems of a file of the current format. The connection may be read-only."""
    damage = [text for (text,) in connection.execute("PRAGMA integrity_check") if text != "ok"]
    if damage:
        yield from damage
        return  # the other checks would read damaged tables
    catalog = Catalog()
    catalog.load(connection)
    versions = connection.execute("SELECT sequence, path, document, checksum FROM versions WHERE document IS NOT NULL")
    damaged = set()
    for sequence, path, document, checksum in versions:
        if not checksums.matches(document, sequence, checksum):
            damaged.add(path)
            yield f"the document {_text(path)} is damaged (sequence {sequence})"
    for table in ("documents", "history"):
        for _, path in connection.execute(_POINTERS.format(table=table)):
            yield f"the table {table} points to a missing version of {_text(path)}"
    if not damaged:
        yield from _index_problems(connection, catalog)


def _index_problems(connection: sqlite3.Connection, catalog: Catalog) -> Iterator[str]:
    registry = IndexRegistry(_field_definitions(connection))
    registry.load(connection)
    tables = EntryTables(connection)
    for number, (database, collection_id) in catalog.names.items():
        if collection_id in registry.earlier:
            continue  # a build is not finished
        indexer = registry.indexer(collection_id)
        every = (keys for _, keys in _documents(connection, number, indexer))
        required = chain.from_iterable([b""] if keys is None else keys for keys in every)  # no key is empty
        if _digest(required) != _digest(tables.keys(number)):
            yield from _differences(connection, tables, number, indexer, f"{collection_id} in {database}")


def _digest(keys: Iterable[bytes]) -> tuple[int, int]:
    """Return the number of keys and the sum of their hashes. Both do not depend on the order of the keys."""
    count = total = 0
    for key in keys:
        count, total = count + 1, total + hash(key)
    return count, total


def _differences(
    connection: sqlite3.Connection, tables: EntryTables, number: int, indexer: DocumentIndexer, collection: str
) -> Iterator[str]:
    """Yield the differences between the documents and the index entries of a collection."""
    expected = 0
    for path, keys in _documents(connection, number, indexer):
        if keys is None:
            yield f"the document {_text(path)} is damaged"
            continue
        expected += len(keys)
        found = tables.count_keys(number, keys)
        if found != len(keys):
            yield f"{len(keys) - found} index entries of the document {_text(path)} are missing"
    total = tables.count(number, b"", path_encoding.AFTER_ALL)
    if total > expected:
        yield f"{total - expected} index entries of collection {collection} have no document"


def _documents(
    connection: sqlite3.Connection, number: int, indexer: DocumentIndexer
) -> Iterator[tuple[bytes, list[bytes] | None]]:
    """Yield the path and the keys of each document. The keys of a damaged document are None."""
    for path, raw in connection.execute(_DOCUMENTS, (number,)):
        try:
            document = Document.FromString(raw)
        except DecodeError:
            yield path, None
        else:
            yield path, list(indexer.entries(path, path_encoding.decode_path(path)[-1], document))


def _field_definitions(connection: sqlite3.Connection) -> Definitions:
    row = connection.execute("SELECT value FROM settings WHERE name = ?", (FIELD_DEFINITIONS,)).fetchone()
    found = [definitions.from_json(text) for text in json.loads(row[0]).values()] if row else []
    return Definitions(
        field_overrides={key: modes for each in found for key, modes in each.field_overrides.items()},
        ttl_fields={key: path for each in found for key, path in each.ttl_fields.items()},
    )


def _text(path: bytes) -> str:
    return "/".join(path_encoding.decode_path(path))
