"""The scanner: runs a query on the key ranges of the planner, at a read time, in the order of the query.

Index entries describe the newest versions. The scanner skips the index entries of documents that changed after the read
time. It merges the versions of these documents at the read time into the results (the overlay). The overlay is small if
the read time is recent. For an older read time, the retained versions limit its size.
"""

import heapq
import math
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter

from infra.embedded.firestore.encoding import path_encoding, resource_names
from infra.embedded.firestore.indexes import entries
from infra.embedded.firestore.indexes.catalog import Catalog
from infra.embedded.firestore.indexes.entry_tables import EntryTables
from infra.embedded.firestore.indexes.index_registry import ReadableIndexes
from infra.embedded.firestore.messages import Document
from infra.embedded.firestore.queries import filters, planner, sort_order
from infra.embedded.firestore.queries.filters import FieldFilter
from infra.embedded.firestore.queries.index_keys import KEYS_PER_PLACE, KeyFilter, intersected_paths, keys_in, search
from infra.embedded.firestore.queries.later_changes import Overlay
from infra.embedded.firestore.queries.planner import KeyRange
from infra.embedded.firestore.queries.sort_order import SortKey
from infra.embedded.firestore.queries.structured_query import Query
from infra.embedded.firestore.storage import versions
from infra.embedded.firestore.storage.earlier_results import EarlierResults

PAGE_DOCUMENTS = 500
DOCUMENTS_PER_PLACE = 100
"""After this number of documents that do not match, a search without a result yields its place."""
MAX_DOCUMENTS_TOGETHER = 50
"""The documents that are read together. The rest of them is not read if the page has enough bytes."""
MAX_COUNTED_KEYS = 3_000
"""The keys that are counted one by one in one read: about 0.2 s. During a longer read, the log cannot be reset."""

MAX_OTHER_KEYS, MAX_SORTED_RESULTS = 100_000, 4_000
"""Up to these numbers, the keys of another range are searched, and its results are sorted."""

_OTHER_KEYS_PER_REJECTED_KEY = 4
"""Another range can have up to this multiple of the rejected keys. Counting a key takes a fifth of the time of
rejecting it.
"""

StoredResult = tuple[SortKey, bytes]
"""A sort key and a serialized Document message."""
_Found = tuple[SortKey, bytes | tuple[int, bytes] | None]
"""A sort key, and one of these: the serialized document; the collection number and the path of a document that is not
read yet; None for a key that does not match.
"""


@dataclass(slots=True)
class Progress:
    """The numbers of keys that the pages of a query have read, and what they have found. Each page has its own scan."""

    matched: int = 0
    rejected: int = 0
    documents: int = 0  # that were read
    next_look: float = 0.0
    """The number of rejected keys after which the scan looks for another range."""
    sorted_results: dict[tuple[str, tuple[FieldFilter, ...]], list[_Found]] = field(default_factory=dict)
    """All results of other ranges, by the collection and the conditions of a range. Later pages contain the rest."""


_paths = "SELECT path FROM documents WHERE collection_number = ? AND path >= ? AND path < ? ORDER BY path"
_PATHS = (f"{_paths} ASC", f"{_paths} DESC")
"""The forward and the backward statement; `KeyRange.reverse` is the index."""


class Scan:
    """One query at one read time in one SQLite transaction."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        catalog: Catalog,
        indexes: ReadableIndexes,
        earlier_results: EarlierResults,
        query: Query,
        read_time: int,
        *,
        keys_only: bool = False,
        progress: Progress | None = None,
    ) -> None:
        """Run `query` at `read_time`. With `keys_only`, a document can be empty, because it need not be read."""
        self._connection = connection
        self._catalog = catalog
        self._indexes = indexes
        self._query = query
        self._read_time = read_time
        self._overlay = Overlay(connection, catalog, query, read_time, earlier_results, max_results=PAGE_DOCUMENTS)
        self._keys_only = keys_only
        self._progress = progress or Progress()
        self._merges_ranges = False
        self.read_bytes = 0

    @cached_property
    def _tables(self) -> EntryTables:
        return EntryTables(self._connection, reads_in_parts=self._merges_ranges)

    def run(self, key_ranges: list[KeyRange], limit: int) -> Iterator[tuple[SortKey, bytes | None]]:
        """Yield at least `limit` results, if they exist. Also yield some keys that do not match, each with None."""
        self._merges_ranges = len(key_ranges) > 1
        streams: list[Iterator[_Found]] = [self._results_in(key_range) for key_range in key_ranges]
        if self._overlay.has_changes:
            streams.append(self._overlaid())
        merged = streams[0] if len(streams) == 1 else heapq.merge(*streams, key=itemgetter(0))
        previous = None
        for key, document in self._with_documents(merged, limit):
            if document is None:
                yield key, None
            elif key != previous:
                previous = key
                yield key, document

    def _with_documents(self, results: Iterator[_Found], limit: int) -> Iterator[tuple[SortKey, bytes | None]]:
        """Read the documents of consecutive results together. Yield None for a document that was changed."""
        unread: list[tuple[SortKey, tuple[int, bytes]]] = []
        for key, found in results:
            if isinstance(found, tuple):
                unread.append((key, found))
                if len(unread) < min(limit, MAX_DOCUMENTS_TOGETHER):
                    continue
            yield from self._read_together(unread)
            limit -= len(unread)
            unread = []
            if not isinstance(found, tuple):
                yield key, found
        yield from self._read_together(unread)

    def _read_together(self, unread: list[tuple[SortKey, tuple[int, bytes]]]) -> Iterator[tuple[SortKey, bytes | None]]:
        found = versions.current_of_each(self._connection, [document for _, document in unread])
        for (key, _), version in zip(unread, found, strict=True):
            self._progress.documents += 1
            if version is None or version.commit_time > self._read_time:
                yield key, None
            else:
                self.read_bytes += len(version.document)
                yield key, version.document

    def count(self, key_range: KeyRange, limit: int | None) -> int | None:
        """Return the number of documents in an exact key range, up to `limit`, or None if one read is not enough."""
        number = self._catalog.number(self._query.parent.database, key_range.collection_id)
        if number is None:
            return 0
        changed = len(self._overlay.results)
        if not self._overlay.is_complete:
            return None
        keys, unchanged = 0, 0
        for path, is_in_range in self._paths(number, key_range):
            if unchanged == limit:
                break
            keys += 1 if is_in_range else KEYS_PER_PLACE
            if keys > MAX_COUNTED_KEYS:
                return None
            if is_in_range and self._is_in_collection(path):
                unchanged += not self._overlay.has_changes or self._unchanged_version(number, path) is not None
        count = changed + unchanged
        return count if limit is None else min(count, limit)

    def _is_in_collection(self, path: bytes) -> bool:
        parent = self._query.parent
        return self._query.all_descendants or len(path_encoding.decode_path(path)) == len(parent.segments) + 2

    def _unchanged_version(self, collection_number: int, path: bytes) -> versions.DocumentVersion | None:
        """Return the current version of a document, or None if this version is later than the read time."""
        version = versions.current(self._connection, collection_number, path)
        self._progress.documents += 1
        return version if version is not None and version.commit_time <= self._read_time else None

    def _results_in(self, key_range: KeyRange) -> Iterator[_Found]:
        number = self._catalog.number(self._query.parent.database, key_range.collection_id)
        if number is None:
            return
        key_filter = KeyFilter.of(self._query, key_range)
        if key_filter is not None:
            yield from self._results_by_keys(number, key_range, key_filter)
            return
        rejected = 0
        for path, is_in_range in self._paths(number, key_range):
            version = self._unchanged_version(number, path) if is_in_range else None
            found = [] if version is None else list(self._matching(path, version))
            yield from found
            rejected += not found
            if not is_in_range or (not found and rejected % DOCUMENTS_PER_PLACE == 0):
                yield from self._place(number, path, key_range)

    def _results_by_keys(self, collection_number: int, key_range: KeyRange, key_filter: KeyFilter) -> Iterator[_Found]:
        """Yield the documents whose keys match the query. Read a document only if its key is not sufficient.

        Filters can match so few documents that most keys of the range are rejected. The rest of the results is then
        read from another range and sorted. The 16 results in three ranges of 19,287 to 27,764 out of 100,000 keys take
        37 to 44 ms of CPU time instead of 65 to 148. If many keys have matched, sorting would take longer.
        """
        progress, before = self._progress, self._progress.rejected
        disjunction = key_range.collection_id, key_range.conditions
        results = progress.sorted_results.get(disjunction)
        if results is not None:
            yield from (found for found in results if self._query.is_within_bounds(found[0]))
            return
        for key, size, sort_key, place, rejected in search(self._tables, collection_number, key_range, key_filter):
            if place is not None:
                yield place, None
                progress.rejected = before + rejected
                if progress.rejected >= progress.next_look and progress.matched <= PAGE_DOCUMENTS:
                    limit = _OTHER_KEYS_PER_REJECTED_KEY * progress.rejected
                    other = self._shortest_range(collection_number, key_range, min(limit, MAX_OTHER_KEYS))
                    results = None if other is None else self._sorted_results(collection_number, other)
                    if results is not None:
                        progress.sorted_results[disjunction] = results
                        yield from (found for found in results if found[0] > place)
                        return
                    progress.next_look = limit if other is None else math.inf
                continue
            progress.matched += 1
            path = entries.path_of(key, size)
            if sort_key is not None and self._keys_only and self._overlay.paths is not None:
                if (collection_number, path) not in self._overlay.paths:
                    yield sort_key, b""
                continue
            if sort_key is not None:
                yield sort_key, (collection_number, path)  # read after the merge, and only if the caller needs it
                continue
            version = self._unchanged_version(collection_number, path)
            if version is not None:
                yield from self._matching(path, version)

    def _shortest_range(self, collection_number: int, key_range: KeyRange, limit: int) -> KeyRange | None:
        """Return the other range with the same results and the fewest keys, or None if each has more than `limit`."""
        fewest, selected = limit + 1, None
        for each in planner.filtered_ranges(self._query, key_range, self._indexes):
            (prefix,) = each.prefixes
            count = self._tables.count_up_to(collection_number, prefix + each.low, prefix + each.high, fewest)
            if count < fewest:
                fewest, selected = count, each
        return selected

    def _sorted_results(self, collection_number: int, key_range: KeyRange) -> list[_Found] | None:
        """Return all results of a range in order, or None if there are too many or if a key is not sufficient."""
        key_filter, results = KeyFilter(self._query, key_range), list[_Found]()
        for key, size, sort_key, place, _ in search(self._tables, collection_number, key_range, key_filter):
            if place is not None:
                continue
            if sort_key is None or len(results) == MAX_SORTED_RESULTS:
                return None
            results.append((sort_key, (collection_number, entries.path_of(key, size))))
        return sorted(results)

    def _matching(self, path: bytes, version: versions.DocumentVersion) -> Iterator[StoredResult]:
        """Yield the document if it matches the query."""
        document = Document.FromString(version.document)
        self.read_bytes += len(version.document)
        if self._query.covers(resource_names.parse(document.name)):
            key = self._query.matching_key(path, document)
            if key is not None:
                yield key, version.document

    # Paths from index entries

    def _paths(self, collection_number: int, key_range: KeyRange) -> Iterator[tuple[bytes, bool]]:
        """Yield the paths in a range, each with True. Also yield some paths that are not in the range, with False."""
        if not key_range.prefixes:
            parameters = collection_number, key_range.low, key_range.high
            for (path,) in self._connection.execute(_PATHS[key_range.reverse], parameters):
                yield path, True
        elif len(key_range.prefixes) == 1:
            for key, size in keys_in(self._tables, collection_number, key_range):
                yield entries.path_of(key, size), True
        else:
            yield from intersected_paths(self._tables, collection_number, key_range)

    def _place(self, collection_number: int, path: bytes, key_range: KeyRange) -> Iterator[_Found]:
        """Yield the place of a document that does not match. Keys, and thus places, describe the newest version."""
        if key_range.prefixes and not self._is_in_collection(path):
            return  # the keys of nested collections are not in the order of the query
        version = versions.current(self._connection, collection_number, path)
        if version is not None:
            fixed = {each.field: each.operands[0] for each in key_range.conditions if each.operator == filters.EQUAL}
            place = sort_order.sort_key(self._query.orders, path, Document.FromString(version.document), fixed)
            if place is not None and self._query.is_within_bounds(place):
                yield place, None

    # Documents that changed after the read time

    @property
    def has_all_changes(self) -> bool:
        """Whether the overlay has all results that changed after the read time."""
        return self._overlay.is_complete

    def _overlaid(self) -> Iterator[StoredResult]:
        """Yield the results of the overlay. A caller that does not need all of them does not read all documents."""
        for _, collection_number, path in self._overlay.results:
            version = versions.at(self._connection, collection_number, path, self._read_time)
            if version is not None:
                yield from self._matching(path, version)
