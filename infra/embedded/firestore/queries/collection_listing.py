"""What is there: documents of a collection page by page, parents that do not exist, collection ids.

A parent that does not exist is only known from documents beneath it. They are found by leaps: one step to
the next document, one over everything that shares its segment, so that the cost depends on how many names
come back and not on how many documents lie beneath them.
"""

import sqlite3
from collections.abc import Iterator

from infra.embedded.firestore.encoding import path_encoding, resource_names
from infra.embedded.firestore.indexes.catalog import Catalog
from infra.embedded.firestore.storage import versions

_NEXT = """
SELECT min(path) FROM (
    SELECT min(path) AS path FROM documents
    WHERE collection_number = :collection_number AND path >= :low AND path < :high
    UNION ALL
    SELECT min(path) FROM history WHERE collection_number = :collection_number AND path >= :low AND path < :high
)
"""


def segments_beneath(
    connection: sqlite3.Connection,
    catalog: Catalog,
    parent: resource_names.ResourceName,
    after: str | None,
    limit: int,
    read_time: int,
) -> list[str]:
    """Return, sorted, the next segments of names that documents beneath `parent` have."""
    found: set[str] = set()
    prefix = parent.path
    for collection_number, _ in catalog.collections_in(parent.database):
        leaps = _leaps(connection, collection_number, prefix, after, read_time)
        found.update(segment for segment, _ in zip(leaps, range(limit), strict=False))
    return sorted(found, key=path_encoding.encode_segment)[:limit]


def _leaps(
    connection: sqlite3.Connection, collection_number: int, prefix: bytes, after: str | None, read_time: int
) -> Iterator[str]:
    low = (
        prefix + path_encoding.NUMERIC_TAG
        if after is None
        else prefix + path_encoding.encode_segment(after) + path_encoding.AFTER_ALL
    )
    high = prefix + path_encoding.AFTER_ALL
    while True:
        (path,) = connection.execute(
            _NEXT, {"collection_number": collection_number, "low": low, "high": high}
        ).fetchone()
        if path is None:
            return
        if versions.at(connection, collection_number, path, read_time) is None:
            low = path + b"\0"
            continue
        segment = path_encoding.decode_path(path[len(prefix) :])[0]
        yield segment
        low = prefix + path_encoding.encode_segment(segment) + path_encoding.AFTER_ALL
