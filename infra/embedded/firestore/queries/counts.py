"""Counts of the results of a query, from index keys.

SQLite counts the keys in the range of a query. Keys describe the newest versions, so this module takes back the changes
after the read time. It remembers the latest counts. The next count of the same range then reads only the changes since,
unless counting the keys again is faster.

If some keys of the range do not match (see `planner.is_exact`), a filter counts those that do. If several ranges are
intersected, or if the range can contain documents of nested collections, the scanner counts the keys one by one.
"""

import sqlite3
import threading
from dataclasses import dataclass

from cachetools import LRUCache

from infra.embedded.firestore.encoding import path_encoding, resource_names
from infra.embedded.firestore.indexes.entry_tables import EntryTables
from infra.embedded.firestore.messages import Document
from infra.embedded.firestore.queries import filters, planner, scanner
from infra.embedded.firestore.queries.filters import FieldFilter
from infra.embedded.firestore.queries.index_keys import KeyFilter
from infra.embedded.firestore.queries.planner import KeyRange
from infra.embedded.firestore.queries.structured_query import Query
from infra.embedded.firestore.storage import versions
from infra.embedded.firestore.storage.storage import Storage

MAX_REMEMBERED = 1_000
MAX_CHANGES = 1_000
"""The number of changes that are read in any case."""
KEYS_PER_CHANGE = 100
"""Reading a change takes about as long as counting this number of keys."""

_Keys = tuple[int, bytes, bytes]
"""The number of a collection and a range of its keys."""

_Conditions = tuple[FieldFilter, ...]


@dataclass(frozen=True, slots=True)
class _Counted:
    """The number of documents in a range, after the change with this sequence."""

    sequence: int
    documents: int


class Counts:
    """Counts the results of queries on one storage, and remembers the latest counts."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._remembered: LRUCache[tuple[_Keys, _Conditions], _Counted] = LRUCache(MAX_REMEMBERED)
        self._lock = threading.Lock()  # several reader threads count

    async def count(self, query: Query, read_time: int) -> int | None:
        """Return the number of results of a query, from index keys only. Return None if keys are not sufficient."""
        if query.collection_id is None or len(query.disjunctions) != 1:
            return None
        if query.lower or query.upper or query.find_nearest:
            return None

        def read(connection: sqlite3.Connection) -> int | None:
            (key_range,) = planner.plan(query, [], self._storage.indexes)
            versions.check_retained(connection, read_time)
            limit = None if query.limit is None else query.offset + query.limit
            number = self._count(connection, query, key_range, read_time, limit)
            return None if number is None else max(0, number - query.offset)

        return await scanner.read_with_indexes(self._storage, read)

    def _count(
        self, connection: sqlite3.Connection, query: Query, key_range: KeyRange, read_time: int, limit: int | None
    ) -> int | None:
        """Return the number of documents in a key range, up to `limit`, or None if they cannot be counted by keys."""
        catalog = self._storage.catalog
        number = catalog.number(query.parent.database, key_range.collection_id)
        if number is None:
            return 0
        found, is_exact = None, planner.is_exact(query)
        key_filter = None if is_exact else KeyFilter.of(query, key_range)
        if len(key_range.prefixes) == 1 and _has_equality(query) and (is_exact or key_filter):
            (prefix,) = key_range.prefixes
            keys = number, prefix + key_range.low, prefix + key_range.high
            found = self._count_keys(connection, query, keys, key_filter, read_time, limit)
        if found is None:
            if not is_exact:
                return None
            return scanner.Scan(connection, catalog, query, read_time).count(key_range, limit)
        return found if limit is None else min(found, limit)

    def _count_keys(
        self,
        connection: sqlite3.Connection,
        query: Query,
        keys: _Keys,
        key_filter: KeyFilter | None,
        read_time: int,
        limit: int | None,
    ) -> int | None:
        """Return the number of documents, or None if they cannot be counted. Without a filter, all keys match."""
        newest, newest_time = versions.newest(connection)
        wanted = newest if newest_time <= read_time else versions.sequence_at(connection, read_time)
        if limit is not None and wanted == newest and key_filter is None:
            return EntryTables(connection).count_up_to(*keys, limit)
        (conditions,) = query.disjunctions
        with self._lock:
            known = self._remembered.get((keys, conditions))
        documents = None
        if known is not None:
            documents = _moved(connection, query, keys, known, wanted)
        if documents is None:
            matching = _matching_keys(connection, keys, key_filter)
            if matching is None:
                return None
            documents = _moved(connection, query, keys, _Counted(newest, matching), wanted)
        if documents is not None and (known is None or known.sequence < wanted):
            with self._lock:
                self._remembered[keys, conditions] = _Counted(wanted, documents)
        return documents


def _has_equality(query: Query) -> bool:
    """Return whether keys contain a value directly after the collection, so that nested collections are elsewhere."""
    (conditions,) = query.disjunctions
    return any(each.operator in (filters.EQUAL, filters.CONTAINS) for each in conditions)


def _matching_keys(connection: sqlite3.Connection, keys: _Keys, key_filter: KeyFilter | None) -> int | None:
    """Return the number of keys that match a filter, or None if a key cannot decide."""
    if key_filter is None:
        return EntryTables(connection).count(*keys)
    matching = 0
    for key, size in EntryTables(connection).scan(*keys):
        parts = key_filter.parts(key, size)
        if parts is None:
            return None
        matching += key_filter.matches(parts)
    return matching


def _moved(connection: sqlite3.Connection, query: Query, keys: _Keys, counted: _Counted, wanted: int) -> int | None:
    """Return the number of documents after the change `wanted`, or None if there are too many changes in between.

    The changes between are added, or taken back if `wanted` is earlier.
    """
    max_changes = max(MAX_CHANGES, counted.documents // KEYS_PER_CHANGE)
    first, last = sorted((counted.sequence, wanted))
    if last - first > max_changes or (first < last and first < versions.pruned_sequence(connection)):
        return None
    difference = 0
    for path, old, new in versions.changed_documents(connection, keys[0], first, last):
        if old == b"" or new == b"":  # damaged
            return None
        difference += _matches(query, path, new) - _matches(query, path, old)
    return counted.documents + (difference if wanted == last else -difference)


def _matches(query: Query, path: bytes, document: bytes | None) -> bool:
    if document is None:
        return False
    name = resource_names.ResourceName(query.parent.database, path_encoding.decode_path(path))
    return query.covers(name) and query.matching_key(path, Document.FromString(document)) is not None
