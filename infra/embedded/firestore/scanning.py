"""A query, run on a reader's connection: which documents it finds at a moment, in its order."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from typing import Any

from infra.embedded.firestore import names, versions
from infra.embedded.firestore.catalog import Catalog
from infra.embedded.firestore.messages import Document
from infra.embedded.firestore.queries import Query
from infra.embedded.firestore.storage import Storage

_PATHS = """
SELECT path FROM documents WHERE kind = :kind AND path >= :low AND path < :high
UNION
SELECT path FROM history WHERE kind = :kind AND path >= :low AND path < :high AND until > :read_time
ORDER BY path
"""


def run(connection: sqlite3.Connection, catalog: Catalog, query: Query, read_time: int) -> list[tuple[bytes, Any]]:
    """Return the documents that a query finds, each with its sort key, in order."""
    found = []
    for path, document in _candidates(connection, catalog, query, read_time):
        key = query.place(path, document)
        if key is not None:
            found.append((key, document))
    found.sort(key=lambda entry: entry[0])
    end = None if query.limit is None else query.offset + query.limit
    return found[query.offset : end]


def _candidates(
    connection: sqlite3.Connection, catalog: Catalog, query: Query, read_time: int
) -> Iterator[tuple[bytes, Any]]:
    for kind, collection_id in catalog.kinds_of(query.parent.database):
        if query.collection_id is not None and query.collection_id != collection_id:
            continue
        low = query.parent.path
        if not query.all_descendants:
            low += names.encode_segment(collection_id)
        bounds = {"kind": kind, "low": low, "high": low + names.AFTER_ALL, "read_time": read_time}
        for (path,) in connection.execute(_PATHS, bounds).fetchall():
            stored = versions.at(connection, kind, path, read_time)
            if stored is not None:
                document = Document.FromString(stored.document)
                if query.covers(names.Name(query.parent.database, names.decode_path(path))):
                    yield path, document


async def stream(storage: Storage, query: Query, read_time: int) -> AsyncIterator[tuple[bytes, Any]]:
    """Yield the documents that a query finds at a moment, each with its sort key, in order."""
    for entry in await storage.read(lambda connection: run(connection, storage.catalog, query, read_time)):
        yield entry
