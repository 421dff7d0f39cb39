"""A query, run on a reader's connection: which documents it finds at a moment, in its order.

Index entries tell of the newest versions. A document that changed after the moment asked for is passed
over where the index has it and put in where its version of that moment belongs (the overlay); what
changed since is little for reads of now and bounded by the versions kept for reads of the past.

A page at a time is read, on a fresh view of the file at the same moment, so that neither a slow client
nor a large result keeps memory or the file's log growing.
"""

import heapq
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import islice
from typing import Any, TypeVar

from infra.embedded.firestore.encoding import path_encoding, resource_names
from infra.embedded.firestore.errors import failed_precondition
from infra.embedded.firestore.indexes import entries
from infra.embedded.firestore.indexes.catalog import Catalog
from infra.embedded.firestore.indexes.definitions import CompositeIndex
from infra.embedded.firestore.messages import Document
from infra.embedded.firestore.queries import planner
from infra.embedded.firestore.queries.planner import Branch, MissingIndex
from infra.embedded.firestore.queries.structured_query import Query, SortKey
from infra.embedded.firestore.storage import versions
from infra.embedded.firestore.storage.storage import Storage

PAGE_DOCUMENTS = 500
PAGE_BYTES = 1 << 20
OVERLAY_BY_SEQUENCE = 2_000

_PATHS = "SELECT path FROM documents WHERE collection_number = ? AND path >= ? AND path < ? ORDER BY path"
_ENTRIES = "SELECT key, size FROM entries WHERE collection_number = ? AND key >= ? AND key < ? ORDER BY key"
PATHS = (f"{_PATHS} ASC", f"{_PATHS} DESC")
ENTRIES = (f"{_ENTRIES} ASC", f"{_ENTRIES} DESC")
NEXT_ENTRY = (f"{_ENTRIES} ASC LIMIT 1", f"{_ENTRIES} DESC LIMIT 1")
"""Statements by direction: forwards, backwards."""

T = TypeVar("T")
Found = tuple[SortKey, Any]


class Scan:
    """One query at one moment on one view of the file."""

    def __init__(self, connection: sqlite3.Connection, catalog: Catalog, query: Query, read_time: int) -> None:
        self._connection = connection
        self._catalog = catalog
        self._query = query
        self._read_time = read_time
        self.read_bytes = 0

    def run(self, branches: list[Branch]) -> Iterator[Found]:
        """Yield what is found, without offset and limit."""
        streams = [self._branch(branch) for branch in branches]
        if versions.newest(self._connection)[1] > self._read_time:
            streams.append(self._overlay())
        previous = None
        for found in streams[0] if len(streams) == 1 else heapq.merge(*streams, key=lambda found: found[0]):
            if found[0] != previous:
                previous = found[0]
                yield found

    def count(self, branch: Branch, most: int | None) -> int | None:
        """Return how many documents an exact range of keys holds, up to `most`; None if too many have changed."""
        collection_number = self._catalog.number(self._query.parent.database, branch.collection_id)
        if collection_number is None:
            return 0
        there = (path for path in self._paths(collection_number, branch) if self._is_in_collection(path))
        changed = 0
        if versions.newest(self._connection)[1] > self._read_time:
            there = (path for path in there if self._is_of_then(collection_number, path))
            changed = sum(1 for _ in self._overlay())
            if changed > PAGE_DOCUMENTS:
                return None
        count = changed + sum(1 for _ in islice(there, most))
        return count if most is None else min(count, most)

    def _is_in_collection(self, path: bytes) -> bool:
        parent = self._query.parent
        return self._query.all_descendants or len(path_encoding.decode_path(path)) == len(parent.segments) + 2

    def _is_of_then(self, collection_number: int, path: bytes) -> bool:
        stored = versions.current(self._connection, collection_number, path)
        return stored is not None and stored.commit_time <= self._read_time

    def _branch(self, branch: Branch) -> Iterator[Found]:
        collection_number = self._catalog.number(self._query.parent.database, branch.collection_id)
        if collection_number is None:
            return
        for path in self._paths(collection_number, branch):
            stored = versions.current(self._connection, collection_number, path)
            if stored is not None and stored.commit_time <= self._read_time:
                yield from self._judged(path, stored)

    def _judged(self, path: bytes, stored: versions.DocumentVersion) -> Iterator[Found]:
        document = Document.FromString(stored.document)
        self.read_bytes += len(stored.document)
        if self._query.covers(resource_names.parse(document.name)):
            key = self._query.place(path, document)
            if key is not None:
                yield key, document

    def _paths(self, collection_number: int, branch: Branch) -> Iterator[bytes]:
        if not branch.bases:
            parameters = collection_number, branch.low, branch.high
            for (path,) in self._connection.execute(PATHS[branch.reverse], parameters):
                yield path
        elif len(branch.bases) == 1:
            (base,) = branch.bases
            parameters = collection_number, base + branch.low, base + branch.high
            for key, size in self._connection.execute(ENTRIES[branch.reverse], parameters):
                yield entries.path_of(key, size)
        else:
            yield from self._leap(collection_number, branch)

    def _leap(self, collection_number: int, branch: Branch) -> Iterator[bytes]:
        """Yield what is behind all bases, going from one index to the next with the farthest key so far."""
        low, high = branch.low, branch.high
        candidate, agreed = None, 0
        turn = 0
        while True:
            base = branch.bases[turn % len(branch.bases)]
            turn += 1
            row = self._next(collection_number, base + low, base + high, branch.reverse)
            if row is None:
                return
            found = row[0][len(base) :]
            agreed = agreed + 1 if found == candidate else 1
            candidate = found
            if agreed == len(branch.bases):
                yield entries.path_of(*row)
                agreed = 0
                low, high = (low, found) if branch.reverse else (found + b"\0", high)
            else:
                low, high = (low, found + b"\0") if branch.reverse else (found, high)

    def _next(self, collection_number: int, low: bytes, high: bytes, reverse: bool) -> tuple[bytes, int] | None:
        found = self._connection.execute(NEXT_ENTRY[reverse], (collection_number, low, high))
        row: tuple[bytes, int] | None = found.fetchone()
        return row

    def _overlay(self) -> Iterator[Found]:
        """Yield, in order, those results whose documents have changed since."""
        changed = versions.superseded_since(self._connection, self._read_time, OVERLAY_BY_SEQUENCE)
        found = (
            each
            for collection_number, path in changed
            if self._catalog.names[collection_number][0] == self._query.parent.database
            for each in self._as_it_was(collection_number, path)
        )
        return iter(heapq.nsmallest(PAGE_DOCUMENTS + 1, found, key=lambda each: each[0]))

    def _as_it_was(self, collection_number: int, path: bytes) -> Iterator[Found]:
        collection_id = self._catalog.names[collection_number][1]
        if self._query.collection_id in (None, collection_id):
            stored = versions.at(self._connection, collection_number, path, self._read_time)
            if stored is not None:
                yield from self._judged(path, stored)


async def stream(
    storage: Storage, query: Query, read_time: int, page_size: int = PAGE_DOCUMENTS
) -> AsyncIterator[Found]:
    """Yield the documents that a query finds at a moment, each with its sort key, in order."""
    missing = planner.vector_index(query)
    if (
        missing is not None
        and not storage.creates_indexes
        and missing not in storage.indexes.definitions.vector_indexes
    ):
        raise failed_precondition(
            f"Missing vector index configuration. Add this one to firestore.indexes.json: {missing.to_json()}"
        )
    to_skip, to_yield = query.offset, query.limit
    while to_yield is None or to_yield > 0:
        most = page_size if to_yield is None else min(page_size, to_skip + to_yield)
        found, complete = await _page(storage, query, read_time, most)
        for entry in found[to_skip:]:
            yield entry
        if complete:
            return
        if to_yield is not None:
            to_yield -= max(0, len(found) - to_skip)
        to_skip = max(0, to_skip - len(found))
        query = query.beyond(found[-1][0])


async def _page(storage: Storage, query: Query, read_time: int, most: int) -> tuple[list[Found], bool]:
    """Return the next results and whether they are the last."""

    def read(connection: sqlite3.Connection) -> tuple[list[Found], bool]:
        collection_ids = [each for _, each in storage.catalog.collections_in(query.parent.database)]
        branches = planner.plan(query, collection_ids, storage.indexes)  # before this view: an index may complete now
        versions.check_retained(connection, read_time)
        scan = Scan(connection, storage.catalog, query, read_time)
        page: list[Found] = []
        for found in scan.run(branches):
            page.append(found)
            if len(page) >= most or scan.read_bytes > PAGE_BYTES:
                return page, False
        return page, True

    return await _with_indexes(storage, read)


async def count(storage: Storage, query: Query, read_time: int) -> int | None:
    """Return how many documents a query finds at a moment, from keys alone; None if that does not tell."""
    if not planner.is_exact(query):
        return None

    def read(connection: sqlite3.Connection) -> int | None:
        (branch,) = planner.plan(query, [], storage.indexes)
        versions.check_retained(connection, read_time)
        most = None if query.limit is None else query.offset + query.limit
        found = Scan(connection, storage.catalog, query, read_time).count(branch, most)
        return None if found is None else max(0, found - query.offset)

    return await _with_indexes(storage, read)


async def _with_indexes(storage: Storage, read: Callable[[sqlite3.Connection], T]) -> T:
    """Read, after the indexes for it were created if need be and allowed."""
    created: set[CompositeIndex] = set()
    while True:
        try:
            return await storage.read(read)
        except MissingIndex as missing:
            if missing.index in created:
                raise  # it was no help: a fault of the planner
            created.add(missing.index)
            if not storage.creates_indexes:
                addition = storage.indexes.definitions.missing_definition(missing.index)
                raise failed_precondition(
                    f"The query requires an index. Add this one to firestore.indexes.json: {addition}"
                ) from None
            await storage.create_index(missing.index)
