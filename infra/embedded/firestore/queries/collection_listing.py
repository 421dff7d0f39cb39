"""Listing of child segments: the ids of collections below a document, or of documents in a collection.

A missing document is listed if documents below it exist. The listing skips from segment to segment, so its cost depends
on the number of returned segments and not on the number of documents below these segments.
"""

import sqlite3
from collections.abc import Iterator

from infra.embedded.firestore.encoding import path_encoding, resource_names
from infra.embedded.firestore.indexes.catalog import Catalog
from infra.embedded.firestore.storage import versions

_NEXT_PATH = """
WITH live AS (
    SELECT min(path) AS path FROM documents
    WHERE collection_number = :collection_number AND path >= :low AND path < :high
)
SELECT coalesce(
    (
        SELECT min(path) FROM history
        WHERE collection_number = :collection_number
            AND path >= :low AND path < coalesce((SELECT path FROM live), :high) AND until > :read_time
    ),
    (SELECT path FROM live)
)
"""
"""The history is searched only up to the next document, so that a list reads each row of the history at most once."""


def child_segments(
    connection: sqlite3.Connection,
    catalog: Catalog,
    parent: resource_names.ResourceName,
    after: str | None,
    limit: int,
    read_time: int,
) -> list[str]:
    """Return the distinct child segments of `parent` that lead to documents: sorted, after `after`, at most `limit`."""
    segments: set[str] = set()
    for collection_number, _ in catalog.collections_in(parent.database):
        in_collection = _segments(connection, collection_number, parent.path, after, read_time)
        segments.update(segment for segment, _ in zip(in_collection, range(limit), strict=False))
    return sorted(segments, key=path_encoding.encode_segment)[:limit]


def _segments(
    connection: sqlite3.Connection, collection_number: int, prefix: bytes, after: str | None, read_time: int
) -> Iterator[str]:
    low = prefix + path_encoding.NUMERIC_TAG
    if after is not None:
        low = prefix + path_encoding.encode_segment(after) + path_encoding.AFTER_ALL
    high = prefix + path_encoding.AFTER_ALL
    while True:
        parameters = {"collection_number": collection_number, "low": low, "high": high, "read_time": read_time}
        (path,) = connection.execute(_NEXT_PATH, parameters).fetchone()
        if path is None:
            return
        if not versions.existed(connection, collection_number, path, read_time):
            low = path + b"\0"
            continue
        segment = path_encoding.decode_path(path[len(prefix) :])[0]
        yield segment
        low = prefix + path_encoding.encode_segment(segment) + path_encoding.AFTER_ALL
