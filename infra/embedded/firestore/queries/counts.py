"""Counts of the results of a query, from index keys.

SQLite counts the keys in the range of a query. Keys describe the newest versions, so this module subtracts the changes
after the read time. It remembers the latest counts. The next count of the same range then reads only later changes,
unless counting the keys again is faster.

A query for several values of a field, as with `in`, is counted as one query per value: no document has two of them.

If some keys of the range do not match (see `planner.is_exact`), the matching keys are counted page by page, like the
results of a query. Other reads therefore do not wait for a long count. If several ranges are intersected, or if the
range can contain documents of nested collections, the scanner counts the keys one by one. If these are many, the
caller must count the results of the query.
"""

import sqlite3
import threading
from dataclasses import dataclass, replace
from functools import partial

from cachetools import LRUCache

from infra.embedded.firestore.encoding import path_encoding, resource_names
from infra.embedded.firestore.indexes.entry_tables import EntryTables
from infra.embedded.firestore.messages import Document
from infra.embedded.firestore.queries import filters, planner, result_pages, scanner
from infra.embedded.firestore.queries.filters import FieldFilter
from infra.embedded.firestore.queries.index_keys import KeyFilter
from infra.embedded.firestore.queries.planner import KeyRange
from infra.embedded.firestore.queries.structured_query import Query
from infra.embedded.firestore.storage import versions
from infra.embedded.firestore.storage.storage import Storage

MAX_REMEMBERED = 1_000
MAX_CHANGES = 1_000
"""Up to this number, changes are always read. Above it, a count of fewer documents looks up each document instead."""
KEYS_PER_CHANGE = 100
"""Reading a change takes about as long as counting this number of keys."""
MAX_CHANGES_PER_READ = 5_000
"""During a longer read, the write-ahead log cannot be reset and grows."""

MAX_PAGE_KEYS = 10_000
"""The keys that are counted in one read, if all of them match: about 0.1 s."""

_Keys = tuple[int, bytes, bytes]
"""The number of a collection and a range of its keys."""

_Conditions = tuple[FieldFilter, ...]


@dataclass(frozen=True, slots=True)
class _Counted:
    """The number of documents in a range, after the change with this sequence."""

    sequence: int
    documents: int

    def is_near(self, sequence: int) -> bool:
        """Return whether reading the changes up to or since another sequence is faster than counting the keys again."""
        return abs(sequence - self.sequence) <= max(MAX_CHANGES, self.documents // KEYS_PER_CHANGE)


@dataclass(frozen=True, slots=True)
class _Move:
    """Updates a known count to the state after the change with the sequence `wanted`."""

    keys: _Keys
    counted: _Counted
    wanted: int


@dataclass(frozen=True, slots=True)
class _Scan:
    """Counts the matching keys in the state after the change with the sequence `wanted`."""

    keys: _Keys
    wanted: int


class Counts:
    """Counts the results of queries on one storage, and remembers the latest counts."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._remembered: LRUCache[tuple[_Keys, _Conditions], _Counted] = LRUCache(MAX_REMEMBERED)
        self._lock = threading.Lock()  # several reader threads count

    async def count(self, query: Query, read_time: int) -> int | None:
        """Return the number of results of a query, from index keys only. Return None if keys are not sufficient."""
        parts = _exclusive_parts(query)
        if query.collection_id is None or query.lower or query.upper or query.find_nearest or not parts:
            return None
        limit = None if query.limit is None else query.offset + query.limit
        total = 0
        for part in parts:
            found = await self._count_part(part, read_time, limit)
            if found is None:
                return None
            total += found
        return max(0, (total if limit is None else min(total, limit)) - query.offset)

    async def _count_part(self, query: Query, read_time: int, limit: int | None) -> int | None:
        """Return the number of results of a query with one disjunction, or `limit` or more if there are more."""

        def read(connection: sqlite3.Connection) -> int | _Move | _Scan | None:
            (key_range,) = planner.plan(query, [], self._storage.indexes)
            versions.check_retained(connection, read_time)
            return self._count(connection, query, key_range, read_time, limit)

        found = await result_pages.read_with_indexes(self._storage, read)
        while isinstance(found, _Move):
            found = await self._storage.read(partial(self._move, query, found))
        if isinstance(found, _Scan):
            found = await self._scan(query, found, read_time, limit)
        return found

    def _count(
        self, connection: sqlite3.Connection, query: Query, key_range: KeyRange, read_time: int, limit: int | None
    ) -> int | _Move | _Scan | None:
        """Return the number of documents in a key range, or `limit` or more if there are more.

        Return None if they cannot be counted by keys.
        """
        catalog = self._storage.catalog
        number = catalog.number(query.parent.database, key_range.collection_id)
        if number is None:
            return 0
        found: int | _Move | _Scan | None = None
        is_exact = planner.is_exact(query)
        if len(key_range.prefixes) == 1 and _has_equality(query) and (is_exact or KeyFilter.of(query, key_range)):
            (prefix,) = key_range.prefixes
            keys = number, prefix + key_range.low, prefix + key_range.high
            found = self._count_keys(connection, query, keys, read_time, limit, is_exact=is_exact)
        if found is None and is_exact:
            indexes, earlier_results = self._storage.indexes, self._storage.earlier_results
            scan = scanner.Scan(connection, catalog, indexes, earlier_results, query, read_time)
            return scan.count(key_range, limit)
        return found

    def _count_keys(
        self,
        connection: sqlite3.Connection,
        query: Query,
        keys: _Keys,
        read_time: int,
        limit: int | None,
        *,
        is_exact: bool,
    ) -> int | _Move | _Scan | None:
        """Return the number of documents, or None if they cannot be counted. If the range is exact, all keys match."""
        newest, newest_time = versions.newest(connection)
        wanted = newest if newest_time <= read_time else versions.sequence_at(connection, read_time)
        if limit is not None and wanted == newest and is_exact:
            return EntryTables(connection).count_up_to(*keys, limit)
        (conditions,) = query.disjunctions
        with self._lock:
            known = self._remembered.get((keys, conditions))
        # This transaction does not see the changes after `newest`.
        if known is not None and known.sequence <= newest and known.is_near(wanted):
            moved = self._move(query, _Move(keys, known, wanted), connection)
            if moved is not None:
                return moved
        if not is_exact:
            return _Scan(keys, wanted)
        matching = EntryTables(connection).count(*keys)
        if newest - wanted > max(MAX_CHANGES, matching):
            return None
        return self._move(query, _Move(keys, _Counted(newest, matching), wanted), connection)

    def _move(self, query: Query, move: _Move, connection: sqlite3.Connection) -> int | _Move | None:
        """Read some of the changes of a move. Return the rest of the move, or the number of documents at its end.

        Return None if the changes are not readable.
        """
        documents, sequence = move.counted.documents, move.counted.sequence
        if sequence < move.wanted:
            following = min(move.wanted, sequence + MAX_CHANGES_PER_READ)
            difference = _difference(connection, query, move.keys[0], sequence, following)
        else:
            following = max(move.wanted, sequence - MAX_CHANGES_PER_READ)
            difference = _difference(connection, query, move.keys[0], following, sequence)
            difference = None if difference is None else -difference
        if difference is None:
            return None
        counted = _Counted(following, documents + difference)
        if following != move.wanted:
            return _Move(move.keys, counted, move.wanted)
        self._remember(query, move.keys, counted)
        return counted.documents

    async def _scan(self, query: Query, scan: _Scan, read_time: int, limit: int | None) -> int:
        """Count the matching keys, up to `limit`."""
        documents = 0
        async for page in result_pages.pages(
            self._storage, replace(query, offset=0, limit=limit), read_time, MAX_PAGE_KEYS, keys_only=True
        ):
            documents += len(page)
        if limit is None:
            self._remember(query, scan.keys, _Counted(scan.wanted, documents))
        return documents

    def _remember(self, query: Query, keys: _Keys, counted: _Counted) -> None:
        (conditions,) = query.disjunctions
        with self._lock:
            known = self._remembered.get((keys, conditions))
            if known is None or known.sequence < counted.sequence:
                self._remembered[keys, conditions] = counted


def _exclusive_parts(query: Query) -> list[Query]:
    """Return one query for each disjunction. Return none if a document could match several, or if there are none."""
    if len(query.disjunctions) == 1:
        return [query]
    compared = [
        {each.field: each.operands for each in conditions if each.operator == filters.EQUAL}
        for conditions in query.disjunctions
    ]
    for field in compared[0] if compared else ():
        operands = {each.get(field) for each in compared}
        if None not in operands and len(operands) == len(compared):
            return [
                replace(query, where=filters.AndFilter(conditions), disjunctions=(conditions,))
                for conditions in query.disjunctions
            ]
    return []


def _has_equality(query: Query) -> bool:
    """Return whether keys contain a value directly after the collection, so that nested collections are elsewhere."""
    (conditions,) = query.disjunctions
    return any(each.operator in (filters.EQUAL, filters.CONTAINS) for each in conditions)


def _difference(
    connection: sqlite3.Connection, query: Query, collection_number: int, first: int, last: int
) -> int | None:
    """Return by how many documents the changes after `first` up to `last` have changed a count.

    Return None if these changes are not readable.
    """
    if first < last and first < versions.pruned_sequence(connection):
        return None
    difference = 0
    for path, old, new in versions.changed_documents(connection, collection_number, first, last):
        if old == b"" or new == b"":  # damaged
            return None
        difference += _matches(query, path, new) - _matches(query, path, old)
    return difference


def _matches(query: Query, path: bytes, document: bytes | None) -> bool:
    if document is None:
        return False
    name = resource_names.ResourceName(query.parent.database, path_encoding.decode_path(path))
    return query.covers(name) and query.matching_key(path, Document.FromString(document)) is not None
