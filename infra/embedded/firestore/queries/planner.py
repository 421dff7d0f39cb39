"""The query planner: it selects one range of index keys for each disjunction of a filter.

A disjunction compares some fields with `==` or array-contains (the equality fields), and sorts by other fields (the
sorted fields). An index can serve the disjunction if its keys start with equality fields and continue with exactly the
sorted fields, in the same directions. Cursors and filters on the first sorted field narrow the range. If no index has
all equality fields, several indexes with the same sorted fields can serve the disjunction together. The scanner then
intersects their ranges.

For an index with descending names, the scanner reads the entries of the exact reverse backwards. Intersected indexes
must be read in the same direction. Note: any index could be read backwards, but production requires a separate index
for this. The planner therefore uses each index only in its own direction.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import takewhile

from infra.embedded.firestore.encoding import path_encoding, values
from infra.embedded.firestore.encoding.field_paths import DOCUMENT_ID, FieldPath
from infra.embedded.firestore.indexes import entries
from infra.embedded.firestore.indexes.definitions import (
    ASCENDING,
    COLLECTION,
    COLLECTION_GROUP,
    CONTAINS,
    DESCENDING,
    CompositeIndex,
    IndexField,
    VectorIndex,
)
from infra.embedded.firestore.indexes.index_registry import ReadableIndexes, UsableIndex
from infra.embedded.firestore.queries import filters
from infra.embedded.firestore.queries.filters import FieldFilter
from infra.embedded.firestore.queries.key_bounds import bounds, truncated, without_end
from infra.embedded.firestore.queries.sort_order import Order
from infra.embedded.firestore.queries.structured_query import Query

MAX_CACHED_SHAPES = 1_000


class MissingIndex(Exception):
    """No existing index serves the query. `index` is an index that would serve it."""

    def __init__(self, index: CompositeIndex) -> None:
        super().__init__(f"The query requires an index: {index.to_json()}")
        self.index = index


class IndexNotReady(Exception):
    """The indexes that serve the query are being built. `collection_id` is their collection group."""

    def __init__(self, collection_id: str) -> None:
        super().__init__(f"The indexes of collection group {collection_id} are being built")
        self.collection_id = collection_id


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The index keys that consist of a prefix and a rest from `low` up to but not including `high`.

    With several prefixes, the range contains only rests that exist with every prefix. Without a prefix, the range
    contains paths of the documents table.
    """

    collection_id: str
    prefixes: tuple[bytes, ...]
    low: bytes
    high: bytes
    reverse: bool
    conditions: tuple[FieldFilter, ...] = ()
    """The conditions of the disjunction that the range serves. Not all keys need to meet them."""
    fields: tuple[FieldPath, ...] = ()
    """The fields whose values follow the prefix in a key."""


def plan(query: Query, collection_ids: list[str], indexes: ReadableIndexes) -> list[KeyRange]:
    """Return the key ranges to scan. `collection_ids` are all collections of the database.

    Raise `MissingIndex`, or `IndexNotReady` if the query can be served when the indexes are built.
    """
    try:
        return _plan(query, collection_ids, indexes)
    except MissingIndex as missing:
        if indexes.building is None:
            raise
        _plan(query, collection_ids, indexes.building)
        raise IndexNotReady(missing.index.collection_id) from None


def _plan(query: Query, collection_ids: list[str], indexes: ReadableIndexes) -> list[KeyRange]:
    searched = collection_ids if query.collection_id is None else [query.collection_id]
    return [
        _Planner(query, collection_id, conditions, indexes).key_range()
        for conditions in query.disjunctions
        for collection_id in searched
    ]


def filtered_ranges(query: Query, key_range: KeyRange, indexes: ReadableIndexes) -> Iterator[KeyRange]:
    """Yield ranges that start with a filtered field and contain the same results as `key_range`, in another order.

    The keys have values of the same fields. `key_range` has one prefix.
    """
    return _Planner(query, key_range.collection_id, key_range.conditions, indexes).filtered_ranges()


def required_vector_index(query: Query) -> VectorIndex | None:
    """Return the vector index that a query requires, or None if it is not a vector search."""
    if query.find_nearest is None or query.collection_id is None:
        return None
    scope = COLLECTION_GROUP if query.all_descendants else COLLECTION
    equality_fields = frozenset(each.field for each in query.where.field_filters()) if query.where else frozenset()
    nearest = query.find_nearest
    return VectorIndex(query.collection_id, scope, equality_fields, nearest.field, len(nearest.vector))


def is_exact(query: Query) -> bool:
    """Return whether a single key range contains exactly the results, apart from documents of nested collections.

    Each filter must be the only `==` or array-contains of its field, or a range of the first sorted field. Operands
    must be shorter than the limit at which indexes truncate values.
    """
    if query.collection_id is None or len(query.disjunctions) != 1:
        return False
    if query.lower or query.upper or query.find_nearest:
        return False
    (conditions,) = query.disjunctions
    if any(each.field == DOCUMENT_ID for each in conditions):
        return False
    equality_fields = [each.field for each in conditions if each.operator in (filters.EQUAL, filters.CONTAINS)]
    ranges = [each for each in conditions if each.operator in filters.RANGES]
    first_sorted = next(order.field for order in query.orders if order.field not in equality_fields)
    return (
        len(equality_fields) + len(ranges) == len(conditions)
        and len(set(equality_fields)) == len(equality_fields)
        and all(each.field == first_sorted for each in ranges)
        and all(len(each.operands[0]) < values.MAX_INDEXED_BYTES for each in conditions)
    )


class _Planner:
    """Plans one disjunction in one collection group."""

    def __init__(
        self, query: Query, collection_id: str, conditions: tuple[FieldFilter, ...], indexes: ReadableIndexes
    ) -> None:
        self._query = query
        self._collection_id = collection_id
        self._conditions = conditions
        self._indexes = indexes
        self._is_group = query.all_descendants
        self._scope = COLLECTION_GROUP if self._is_group else COLLECTION
        self._collection = b"" if self._is_group else query.parent.path + path_encoding.encode_segment(collection_id)
        self._equal = {each.field: each.operands[0] for each in conditions if each.operator == filters.EQUAL}
        self._contains = {each.field: each.operands[0] for each in conditions if each.operator == filters.CONTAINS}
        self._sorted = [order for order in query.orders if order.field not in self._equal]

    def key_range(self) -> KeyRange:
        """Return the range of keys, or raise `MissingIndex`."""
        if DOCUMENT_ID in self._equal:
            path = self._equal[DOCUMENT_ID][1:-1]
            return KeyRange(self._collection_id, (), path, path + b"\0", False)
        if not self._equal and not self._contains and len(self._sorted) == 1:
            return self._range_of_documents()
        reverse = self._sorted[-1].descending  # the last order is that of the names, which ascend in all keys
        prefixes = self._prefixes(reverse)
        if not prefixes:
            raise MissingIndex(self._required_index())
        low, high = bounds(self._query, self._conditions, self._equal, self._sorted[0], reverse)
        fields = tuple(order.field for order in self._sorted if order.field != DOCUMENT_ID)
        return KeyRange(self._collection_id, tuple(prefixes), low, high, reverse, self._conditions, fields)

    def filtered_ranges(self) -> Iterator[KeyRange]:
        """Yield a range of each index with the same fields that starts with a filtered field after the fixed ones."""
        query = replace(self._query, lower=None, upper=None)  # cursors are positions in the order of the query
        sorted_fields = {order.field for order in self._sorted} - {DOCUMENT_ID}
        filtered = {each.field for each in self._conditions if each.operator in filters.RANGES}
        for index, number in self._indexes.composite_indexes.items():
            if (index.collection_id, index.scope) != (self._collection_id, self._scope):
                continue
            fixed = tuple(takewhile(self._is_fixed, index.fields))
            rest = index.fields[len(fixed) :]
            is_usable = (
                {each.path for each in fixed} == {*self._equal, *self._contains}
                and {each.path for each in rest} == sorted_fields
                and all(each.mode == ASCENDING for each in rest)
                and rest[0].path in filtered - {self._sorted[0].field}
            )
            if is_usable:
                low, high = bounds(query, self._conditions, self._equal, Order(rest[0].path, False), False)
                fields = tuple(each.path for each in rest)
                prefix = self._prefix(number, fixed)
                yield KeyRange(self._collection_id, (prefix,), low, high, False, self._conditions, fields)

    def _range_of_documents(self) -> KeyRange:
        first = self._sorted[0]
        reverse = first.descending
        low, high = map(without_end, bounds(self._query, self._conditions, self._equal, first, reverse))
        prefix = self._collection or self._query.parent.path
        return KeyRange(self._collection_id, (), max(low, prefix), min(high, prefix + path_encoding.AFTER_ALL), reverse)

    def _prefixes(self, reverse: bool) -> list[bytes]:
        """Return the key prefixes of indexes that together have all equality fields, or an empty list."""
        missing = set(self._equal) | set(self._contains)
        prefixes: list[bytes] = []
        candidates = [*self._single_field_prefixes(reverse), *self._composite_prefixes(reverse)]
        candidates.sort(key=lambda candidate: -len(candidate[0]))
        for fixed, prefix in candidates:
            if fixed & missing or not (prefixes or missing):
                prefixes.append(prefix)
                missing -= fixed
        return [] if missing else prefixes

    def _single_field_prefixes(self, reverse: bool) -> Iterator[tuple[frozenset[FieldPath], bytes]]:
        """Yield each usable single-field index as its equality fields and its key prefix."""
        if len(self._sorted) == 1:
            if self._sorted[0].descending != reverse:
                return
            for field, operand in self._equal.items():
                if self._has_index(field, DESCENDING) or (not reverse and self._has_index(field, ASCENDING)):
                    prefix = entries.single_field_prefix(field, by_element=False, is_group=self._is_group)
                    yield frozenset((field,)), prefix + self._collection + truncated(operand)
            for field, operand in self._contains.items():
                if not reverse and self._has_index(field, CONTAINS):
                    prefix = entries.single_field_prefix(field, by_element=True, is_group=self._is_group)
                    yield frozenset((field,)), prefix + self._collection + truncated(operand)
        elif len(self._sorted) == 2 and not self._equal and not self._contains:
            first, last = self._sorted
            if first.descending == last.descending == reverse and self._has_index(first.field, _mode(first)):
                prefix = entries.single_field_prefix(first.field, by_element=False, is_group=self._is_group)
                yield frozenset(), prefix + self._collection

    def _has_index(self, field: FieldPath, mode: str) -> bool:
        return self._indexes.has_field_index(self._collection_id, field, mode, self._scope)

    def _composite_prefixes(self, reverse: bool) -> Iterator[tuple[frozenset[FieldPath], bytes]]:
        """Yield each usable composite index as its equality fields and its key prefix."""
        shape = (
            self._collection_id,
            self._scope,
            reverse,
            frozenset(self._equal),
            frozenset(self._contains),
            tuple(self._sorted),
        )
        usable = self._indexes.usable.get(shape)
        if usable is None:
            usable = list(self._usable_composites(reverse))
            if len(self._indexes.usable) < MAX_CACHED_SHAPES:
                self._indexes.usable[shape] = usable
        for number, fields in usable:
            yield frozenset(each.path for each in fields), self._prefix(number, fields)

    def _prefix(self, number: int, fixed: Iterable[IndexField]) -> bytes:
        return entries.composite_prefix(number) + self._collection + b"".join(map(self._fixed_value, fixed))

    def _usable_composites(self, reverse: bool) -> Iterator[UsableIndex]:
        for index, number in self._indexes.composite_indexes.items():
            if (index.collection_id, index.scope, index.names_descend) != (self._collection_id, self._scope, reverse):
                continue
            fixed = tuple(takewhile(self._is_fixed, index.stored_as.fields))
            rest = index.fields[len(fixed) :]
            if any(each.mode == CONTAINS for each in rest):
                continue  # documents cannot be sorted by array elements
            orders = [(each.path, each.mode == DESCENDING) for each in rest]
            if not orders or orders[-1][0] != DOCUMENT_ID:
                orders.append((DOCUMENT_ID, index.names_descend))
            if orders == [(order.field, order.descending) for order in self._sorted]:
                yield number, fixed

    def _is_fixed(self, field: IndexField) -> bool:
        return field.path in (self._contains if field.mode == CONTAINS else self._equal)

    def _fixed_value(self, field: IndexField) -> bytes:
        """Return the encoded operand of an equality field with which an index starts."""
        operands = self._contains if field.mode == CONTAINS else self._equal
        part = truncated(operands[field.path])
        return values.invert(part) if field.mode == DESCENDING else part

    def _required_index(self) -> CompositeIndex:
        fields = [IndexField(field, CONTAINS) for field in sorted(self._contains)]
        # In a single-field index, names have the direction of the field.
        descends = not fields and len(self._equal) == len(self._sorted) == 1 and self._sorted[0].descending
        fields += [IndexField(field, DESCENDING if descends else ASCENDING) for field in sorted(self._equal)]
        fields += [IndexField(order.field, _mode(order)) for order in self._sorted[:-1]]
        names = self._sorted[-1]
        if names.descending != (bool(fields) and fields[-1].mode == DESCENDING):
            fields.append(IndexField(DOCUMENT_ID, _mode(names)))
        return CompositeIndex(self._collection_id, self._scope, tuple(fields))


def _mode(order: Order) -> str:
    return DESCENDING if order.descending else ASCENDING
