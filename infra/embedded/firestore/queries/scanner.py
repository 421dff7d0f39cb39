"""The scanner: runs a query on the key ranges of the planner, at a read time, in the order of the query.

Index entries describe the newest versions. The scanner skips the index entries of documents that changed after the read
time. It merges the versions of these documents at the read time into the results (the overlay). The overlay is small if
the read time is recent. For an older read time, the retained versions limit its size.

The scanner reads results page by page. Each page uses a new SQLite transaction and the same read time. A slow client or
a large result therefore needs little memory, and does not prevent a reset of the write-ahead log.
"""

import heapq
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cached_property
from itertools import islice
from operator import itemgetter
from typing import TypeVar

from infra.embedded.firestore.encoding import path_encoding, resource_names
from infra.embedded.firestore.errors import failed_precondition
from infra.embedded.firestore.indexes import entries
from infra.embedded.firestore.indexes.catalog import Catalog
from infra.embedded.firestore.indexes.definitions import CompositeIndex
from infra.embedded.firestore.indexes.entry_tables import EntryTables
from infra.embedded.firestore.messages import Document
from infra.embedded.firestore.queries import planner
from infra.embedded.firestore.queries.index_keys import KeyFilter
from infra.embedded.firestore.queries.planner import IndexNotReady, KeyRange, MissingIndex
from infra.embedded.firestore.queries.sort_order import KeyedDocument, SortKey
from infra.embedded.firestore.queries.structured_query import Query
from infra.embedded.firestore.storage import versions
from infra.embedded.firestore.storage.storage import Storage

PAGE_DOCUMENTS = 500
PAGE_BYTES = 1 << 20
MAX_CHANGES_READ_ONE_BY_ONE = 2_000

T = TypeVar("T")

StoredResult = tuple[SortKey, bytes]
"""A sort key and a serialized Document message."""
_Found = StoredResult | tuple[SortKey, tuple[int, bytes]]
"""A stored result, or a sort key with the collection number and the path of a document that is not read yet."""

_paths = "SELECT path FROM documents WHERE collection_number = ? AND path >= ? AND path < ? ORDER BY path"
_PATHS = (f"{_paths} ASC", f"{_paths} DESC")
"""The forward and the backward statement; `KeyRange.reverse` is the index."""


class Scan:
    """One query at one read time in one SQLite transaction."""

    def __init__(self, connection: sqlite3.Connection, catalog: Catalog, query: Query, read_time: int) -> None:
        self._connection = connection
        self._catalog = catalog
        self._query = query
        self._read_time = read_time
        self._has_later_changes = versions.newest(connection)[1] > read_time
        self.read_bytes = 0

    @cached_property
    def _tables(self) -> EntryTables:
        return EntryTables(self._connection)

    def run(self, key_ranges: list[KeyRange]) -> Iterator[StoredResult]:
        """Yield all results, ignoring offset and limit."""
        streams: list[Iterator[_Found]] = [self._results_in(key_range) for key_range in key_ranges]
        if self._has_later_changes:
            streams.append(self._overlay())
        previous = None
        for key, found in streams[0] if len(streams) == 1 else heapq.merge(*streams, key=itemgetter(0)):
            document = found if isinstance(found, bytes) else self._unchanged_document(*found)
            if document is not None and key != previous:
                previous = key
                yield key, document

    def count(self, key_range: KeyRange, limit: int | None) -> int | None:
        """Return the number of documents in an exact key range, up to `limit`, or None if the overlay is too large."""
        number = self._catalog.number(self._query.parent.database, key_range.collection_id)
        if number is None:
            return 0
        paths = (path for path in self._paths(number, key_range) if self._is_in_collection(path))
        changed = 0
        if self._has_later_changes:
            paths = (path for path in paths if self._unchanged_version(number, path) is not None)
            changed = sum(1 for _ in self._overlay())
            if changed > PAGE_DOCUMENTS:
                return None
        count = changed + sum(1 for _ in islice(paths, limit))
        return count if limit is None else min(count, limit)

    def _is_in_collection(self, path: bytes) -> bool:
        parent = self._query.parent
        return self._query.all_descendants or len(path_encoding.decode_path(path)) == len(parent.segments) + 2

    def _unchanged_version(self, collection_number: int, path: bytes) -> versions.DocumentVersion | None:
        """Return the current version of a document, or None if this version is later than the read time."""
        version = versions.current(self._connection, collection_number, path)
        return version if version is not None and version.commit_time <= self._read_time else None

    def _unchanged_document(self, collection_number: int, path: bytes) -> bytes | None:
        """Return a document, or None if it was changed after the read time."""
        version = self._unchanged_version(collection_number, path)
        if version is None:
            return None
        self.read_bytes += len(version.document)
        return version.document

    def _results_in(self, key_range: KeyRange) -> Iterator[_Found]:
        number = self._catalog.number(self._query.parent.database, key_range.collection_id)
        if number is None:
            return
        key_filter = KeyFilter.of(self._query, key_range)
        if key_filter is not None:
            yield from self._results_by_keys(number, key_range, key_filter)
            return
        for path in self._paths(number, key_range):
            version = self._unchanged_version(number, path)
            if version is not None:
                yield from self._matching(path, version)

    def _results_by_keys(self, collection_number: int, key_range: KeyRange, key_filter: KeyFilter) -> Iterator[_Found]:
        """Yield the documents whose keys match the query. Read a document only if its key is not sufficient."""
        for key, size in self._entries(collection_number, key_range):
            parts = key_filter.parts(key, size)
            sort_key = None if parts is None else key_filter.sort_key(parts, key, size)
            if parts is not None and sort_key is None:
                continue
            path = entries.path_of(key, size)
            if sort_key is not None:
                yield sort_key, (collection_number, path)  # read after the merge, and only if the caller needs it
                continue
            version = self._unchanged_version(collection_number, path)
            if version is not None:
                yield from self._matching(path, version)

    def _matching(self, path: bytes, version: versions.DocumentVersion) -> Iterator[StoredResult]:
        """Yield the document if it matches the query."""
        document = Document.FromString(version.document)
        self.read_bytes += len(version.document)
        if self._query.covers(resource_names.parse(document.name)):
            key = self._query.matching_key(path, document)
            if key is not None:
                yield key, version.document

    # Paths from index entries

    def _paths(self, collection_number: int, key_range: KeyRange) -> Iterator[bytes]:
        if not key_range.prefixes:
            parameters = collection_number, key_range.low, key_range.high
            for (path,) in self._connection.execute(_PATHS[key_range.reverse], parameters):
                yield path
        elif len(key_range.prefixes) == 1:
            for key, size in self._entries(collection_number, key_range):
                yield entries.path_of(key, size)
        else:
            yield from self._merge_join(collection_number, key_range)

    def _entries(self, collection_number: int, key_range: KeyRange) -> Iterator[tuple[bytes, int]]:
        """Yield the keys of a range with one prefix, each with the size of its path."""
        (prefix,) = key_range.prefixes
        low, high = prefix + key_range.low, prefix + key_range.high
        return self._tables.scan(collection_number, low, high, key_range.reverse)

    def _merge_join(self, collection_number: int, key_range: KeyRange) -> Iterator[bytes]:
        """Yield the paths that exist with every prefix, by a zigzag merge join.

        Each step reads the next index, starting at the farthest position that any index has reached.
        """
        low, high, reverse = key_range.low, key_range.high, key_range.reverse
        candidate, agreeing = None, 0
        step = 0
        while True:
            prefix = key_range.prefixes[step % len(key_range.prefixes)]
            step += 1
            entry = self._next_entry(collection_number, prefix + low, prefix + high, reverse)
            if entry is None:
                return
            rest = entry[0][len(prefix) :]
            agreeing = agreeing + 1 if rest == candidate else 1
            candidate = rest
            if agreeing == len(key_range.prefixes):
                yield entries.path_of(*entry)
                agreeing = 0
                low, high = (low, rest) if reverse else (rest + b"\0", high)
            else:
                low, high = (low, rest + b"\0") if reverse else (rest, high)

    def _next_entry(self, collection_number: int, low: bytes, high: bytes, reverse: bool) -> tuple[bytes, int] | None:
        return next(self._tables.scan(collection_number, low, high, reverse, limit=1), None)

    # Documents that changed after the read time

    def _overlay(self) -> Iterator[StoredResult]:
        """Yield the results that changed after the read time, in order: at most PAGE_DOCUMENTS + 1."""
        changed = versions.superseded_since(self._connection, self._read_time, MAX_CHANGES_READ_ONE_BY_ONE)
        results = (
            result
            for collection_number, path in changed
            if self._catalog.names[collection_number][0] == self._query.parent.database
            for result in self._matching_at_read_time(collection_number, path)
        )
        return iter(heapq.nsmallest(PAGE_DOCUMENTS + 1, results, key=lambda result: result[0]))

    def _matching_at_read_time(self, collection_number: int, path: bytes) -> Iterator[StoredResult]:
        collection_id = self._catalog.names[collection_number][1]
        if self._query.collection_id in (None, collection_id):
            version = versions.at(self._connection, collection_number, path, self._read_time)
            if version is not None:
                yield from self._matching(path, version)


async def stream(
    storage: Storage, query: Query, read_time: int, page_size: int = PAGE_DOCUMENTS
) -> AsyncIterator[KeyedDocument]:
    """Yield the results of a query at a read time, each with its sort key, in order."""
    async for page in pages(storage, query, read_time, page_size):
        for key, document in page:
            yield key, Document.FromString(document)


async def pages(
    storage: Storage, query: Query, read_time: int, page_size: int = PAGE_DOCUMENTS
) -> AsyncIterator[list[StoredResult]]:
    """Yield the same results page by page, without parsing the documents."""
    _check_vector_index(storage, query)
    to_skip, to_yield = query.offset, query.limit
    while to_yield is None or to_yield > 0:
        limit = page_size if to_yield is None else min(page_size, to_skip + to_yield)
        page, is_last = await _read_page(storage, query, read_time, limit)
        yield page[to_skip:] if to_skip else page
        if is_last:
            return
        if to_yield is not None:
            to_yield -= max(0, len(page) - to_skip)
        to_skip = max(0, to_skip - len(page))
        query = query.starting_after(page[-1][0])


def _check_vector_index(storage: Storage, query: Query) -> None:
    required = planner.required_vector_index(query)
    if required is None or storage.creates_indexes or required in storage.indexes.definitions.vector_indexes:
        return
    raise failed_precondition(
        f"Missing vector index configuration. Add this one to firestore.indexes.json: {required.to_json()}"
    )


async def _read_page(storage: Storage, query: Query, read_time: int, limit: int) -> tuple[list[StoredResult], bool]:
    """Return the next results, and whether no further results exist."""

    def read(connection: sqlite3.Connection) -> tuple[list[StoredResult], bool]:
        # Plan before the first SELECT. Otherwise the plan could use an index that is not complete in this transaction.
        collection_ids = [collection_id for _, collection_id in storage.catalog.collections_in(query.parent.database)]
        key_ranges = planner.plan(query, collection_ids, storage.indexes)
        versions.check_retained(connection, read_time)
        scan = Scan(connection, storage.catalog, query, read_time)
        page: list[StoredResult] = []
        for result in scan.run(key_ranges):
            page.append(result)
            if len(page) >= limit or scan.read_bytes > PAGE_BYTES:
                return page, False
        return page, True

    return await read_with_indexes(storage, read)


async def read_with_indexes(storage: Storage, read: Callable[[sqlite3.Connection], T]) -> T:
    """Run `read`. If an index is missing, create it and run `read` again, or raise `StatusError`."""
    created: set[CompositeIndex] = set()
    while True:
        try:
            return await storage.read(read)
        except MissingIndex as missing:
            if missing.index in created:
                raise  # a bug in the planner: it requires an index but does not use it
            created.add(missing.index)
            if not storage.creates_indexes:
                definition = storage.indexes.definitions.missing_definition(missing.index)
                raise failed_precondition(
                    f"The query requires an index. Add this one to firestore.indexes.json: {definition}"
                ) from None
            await storage.create_index(missing.index)
        except IndexNotReady as building:
            if not storage.creates_indexes:
                progress = storage.index_builds.get(building.collection_id, "the last step is running")
                raise failed_precondition(
                    "The query requires an index. That index is currently building and cannot be used yet: "
                    f"collection group {building.collection_id}, {progress}."
                ) from None
            await storage.wait_for_indexes(building.collection_id)
