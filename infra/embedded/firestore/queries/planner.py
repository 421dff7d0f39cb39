"""How a query is found in the indexes: one range of keys for each alternative of its filter.

An alternative holds some fields fixed (equalities) and sorts by the rest. An index serves it when its key
begins with fixed fields and goes on with exactly that rest, in the same directions; then filters on the
first sorted field and cursors narrow the range. Several indexes that agree on the rest can share the fixed
fields among them: what all of them hold is found by leaping from one to the next.

An index in which names fall is read from the entries of its reverse, backwards; so those that can be leapt
between, whose names go the same way, are read the same way too. The trap: every index could be read
backwards, yet production reads none so, and asks for the other one; here too each must be defined to be used.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from infra.embedded.firestore.encoding import path_encoding, values
from infra.embedded.firestore.encoding.field_paths import DOCUMENT_ID, FieldPath
from infra.embedded.firestore.indexes import definitions, entries
from infra.embedded.firestore.indexes.definitions import CompositeIndex, IndexField, VectorIndex
from infra.embedded.firestore.indexes.index_registry import ReadableIndexes
from infra.embedded.firestore.queries import filters
from infra.embedded.firestore.queries.filters import FieldTest
from infra.embedded.firestore.queries.structured_query import Edge, Order, Query

_BEHIND_END = b"\x01"  # what `_beyond` makes of the end mark of a path


class MissingIndex(Exception):
    """No index serves the query; this one would."""

    def __init__(self, index: CompositeIndex) -> None:
        super().__init__(f"The query requires an index: {index.to_json()}")
        self.index = index


@dataclass(frozen=True, slots=True)
class Branch:
    """Keys between `low` and `high` behind every one of `bases`; no base: the documents themselves."""

    collection_id: str
    bases: tuple[bytes, ...]
    low: bytes
    high: bytes
    reverse: bool


def plan(query: Query, collection_ids: list[str], indexes: ReadableIndexes) -> list[Branch]:
    """Return where to look for what a query finds; `collection_ids` are those that the database has."""
    branches = []
    wanted = collection_ids if query.collection_id is None else [query.collection_id]
    for tests in query.alternatives:
        for collection_id in wanted:
            branches.append(_Planner(query, collection_id, tests, indexes).branch())
    return branches


def vector_index(query: Query) -> VectorIndex | None:
    """Return the index that a search for neighbours needs besides, if the query is one."""
    if query.nearest is None or query.collection_id is None:
        return None
    scope = definitions.COLLECTION_GROUP if query.all_descendants else definitions.COLLECTION
    fixed = frozenset(test.field for test in query.where.tests()) if query.where else frozenset()
    return VectorIndex(query.collection_id, scope, fixed, query.nearest.field, len(query.nearest.vector))


def is_exact(query: Query) -> bool:
    """Return whether the one range of keys holds what the query finds and, collections beneath apart, nothing else.

    Filters are on whole values as indexes hold them, one for a field or a range on the first to sort by.
    """
    if query.collection_id is None or len(query.alternatives) != 1 or query.lower or query.upper or query.nearest:
        return False
    (tests,) = query.alternatives
    if any(test.field == DOCUMENT_ID for test in tests):
        return False
    fixed = [test.field for test in tests if test.operator in (filters.EQUAL, filters.CONTAINS)]
    ranges = [test for test in tests if test.operator in filters.RANGES]
    sorted_first = next(order.field for order in query.orders if order.field not in fixed)
    return (
        len(fixed) + len(ranges) == len(tests)
        and len(set(fixed)) == len(fixed)
        and all(test.field == sorted_first for test in ranges)
        and all(len(test.operands[0]) < values.MAX_INDEXED_BYTES for test in tests)
    )


class _Planner:
    """Finds the keys for one alternative in one collection group."""

    def __init__(
        self, query: Query, collection_id: str, tests: tuple[FieldTest, ...], indexes: ReadableIndexes
    ) -> None:
        self._query = query
        self._collection_id = collection_id
        self._tests = tests
        self._indexes = indexes
        self._group = query.all_descendants
        parent = query.parent.path
        self._collection = b"" if self._group else parent + path_encoding.encode_segment(collection_id)
        self._equal = {test.field: test.operands[0] for test in tests if test.operator == filters.EQUAL}
        self._contains = {test.field: test.operands[0] for test in tests if test.operator == filters.CONTAINS}
        self._free = [order for order in query.orders if order.field not in self._equal]

    def branch(self) -> Branch:
        """Return the keys, or raise MissingIndex."""
        if DOCUMENT_ID in self._equal:
            path = self._equal[DOCUMENT_ID][1:-1]
            return Branch(self._collection_id, (), path, path + b"\0", False)
        if not self._equal and not self._contains and len(self._free) == 1:
            return self._documents()
        for reverse in (False, True):
            bases = self._bases(reverse)
            if bases:
                low, high = self._range(reverse)
                return Branch(self._collection_id, tuple(bases), low, high, reverse)
        raise MissingIndex(self._wanted())

    def _documents(self) -> Branch:
        reverse = self._free[0].descending
        low, high = (_without_end(position) for position in self._range(reverse))
        prefix = self._collection or self._query.parent.path
        return Branch(self._collection_id, (), max(low, prefix), min(high, prefix + path_encoding.AFTER_ALL), reverse)

    def _bases(self, reverse: bool) -> list[bytes]:
        """Return the beginnings of keys that together hold all fixed fields, or nothing."""
        missing = set(self._equal) | set(self._contains)
        bases: list[bytes] = []
        candidates = [*self._single_bases(reverse), *self._composite_bases(reverse)]
        candidates.sort(key=lambda candidate: -len(candidate[0]))
        for covered, base in candidates:
            if covered & missing or not (bases or missing):
                bases.append(base)
                missing -= covered
        return [] if missing else bases

    def _single_bases(self, reverse: bool) -> Iterator[tuple[frozenset[FieldPath], bytes]]:
        scope = definitions.COLLECTION_GROUP if self._group else definitions.COLLECTION
        if len(self._free) == 1:
            if self._free[0].descending != reverse:
                return
            for field, operand in self._equal.items():
                modes = self._indexes.definitions.modes(self._collection_id, field)
                if (definitions.DESCENDING, scope) in modes or (
                    not reverse and (definitions.ASCENDING, scope) in modes
                ):
                    yield (
                        frozenset((field,)),
                        self._base(entries.single_field_prefix(field, False, self._group)) + _cut(operand),
                    )
            for field, operand in self._contains.items():
                if not reverse and (definitions.CONTAINS, scope) in self._indexes.definitions.modes(
                    self._collection_id, field
                ):
                    yield (
                        frozenset((field,)),
                        self._base(entries.single_field_prefix(field, True, self._group)) + _cut(operand),
                    )
        elif len(self._free) == 2 and not self._equal and not self._contains:
            first, last = self._free
            mode = definitions.DESCENDING if first.descending else definitions.ASCENDING
            if first.descending == last.descending == reverse and (mode, scope) in self._indexes.definitions.modes(
                self._collection_id, first.field
            ):
                yield frozenset(), self._base(entries.single_field_prefix(first.field, False, self._group))

    def _composite_bases(self, reverse: bool) -> Iterator[tuple[frozenset[FieldPath], bytes]]:
        scope = definitions.COLLECTION_GROUP if self._group else definitions.COLLECTION
        for index, number in self._indexes.composite_indexes.items():
            if (index.collection_id, index.scope, index.names_descend) != (self._collection_id, scope, reverse):
                continue
            fixed = self._fixed(index.stored_as)
            free = index.fields[len(fixed) :]
            if any(each.mode == definitions.CONTAINS for each in free):
                continue  # elements are in no order of the whole
            rest = [(each.path, each.mode == definitions.DESCENDING) for each in free]
            if not rest or rest[-1][0] != DOCUMENT_ID:
                rest.append((DOCUMENT_ID, index.names_descend))
            if rest == [(order.field, order.descending) for order in self._free]:
                base = self._base(entries.composite_prefix(number)) + b"".join(fixed)
                yield frozenset(each.path for each in index.fields[: len(fixed)]), base

    def _fixed(self, index: CompositeIndex) -> list[bytes]:
        fixed = []
        for component in index.fields:
            operands = self._contains if component.mode == definitions.CONTAINS else self._equal
            if component.path not in operands:
                break
            part = _cut(operands[component.path])
            fixed.append(values.invert(part) if component.mode == definitions.DESCENDING else part)
        return fixed

    def _base(self, index: bytes) -> bytes:
        return index + self._collection

    def _range(self, reverse: bool) -> tuple[bytes, bytes]:
        """Return the least and the first too great of what may follow the fixed fields."""
        low, high = list(self._limits(lower=True)), list(self._limits(lower=False))
        if self._query.lower is not None:
            low.append(self._position(self._query.lower))
        if self._query.upper is not None:
            high.append(self._position(self._query.upper))
        if reverse:
            low, high = list(map(_mirrored, high)), list(map(_mirrored, low))
        return max(map(_place, low), default=b""), min(map(_place, high), default=path_encoding.AFTER_ALL)

    def _limits(self, lower: bool) -> Iterator[tuple[bytes, bool]]:
        """Yield positions that the filters on the first sorted field keep to."""
        first = self._free[0]
        for test in self._tests:
            if test.field != first.field or test.operator not in filters.RANGES:
                continue
            operand = test.operands[0][1:] if first.field == DOCUMENT_ID else _cut(test.operands[0])
            whole = first.field == DOCUMENT_ID or operand == test.operands[0]
            at_least = test.operator in (filters.GREATER, filters.GREATER_OR_EQUAL)
            inclusive = not whole or test.operator in (filters.GREATER_OR_EQUAL, filters.LESS_OR_EQUAL)
            kind = b"" if first.field == DOCUMENT_ID else values.type_prefix(operand)
            part, other = _directed(operand, first), _directed(kind, first)
            is_lower = at_least != first.descending
            if is_lower == lower:
                yield part, (not inclusive if lower else inclusive)
            else:
                yield other, not lower

    def _position(self, edge: Edge) -> tuple[bytes, bool]:
        """Return where an edge of the query lies among keys without the fixed fields."""
        prefix = b""
        for order, part in zip(self._query.orders, edge.parts, strict=False):
            operand = self._equal.get(order.field)
            if operand is None:
                prefix += part
                continue
            fixed = _directed(_cut(operand), order)
            if fixed != part:
                return prefix, fixed < part
        return prefix, edge.after

    def _wanted(self) -> CompositeIndex:
        components = [IndexField(field, definitions.CONTAINS) for field in sorted(self._contains)]
        falling = not components and len(self._equal) == len(self._free) == 1 and self._free[0].descending
        equal_mode = definitions.DESCENDING if falling else definitions.ASCENDING  # a field's own index has the names
        components += [IndexField(field, equal_mode) for field in sorted(self._equal)]
        for order in self._free[:-1]:
            mode = definitions.DESCENDING if order.descending else definitions.ASCENDING
            components.append(IndexField(order.field, mode))
        falling = bool(components) and components[-1].mode == definitions.DESCENDING
        if self._free[-1].descending != falling:
            mode = definitions.DESCENDING if self._free[-1].descending else definitions.ASCENDING
            components.append(IndexField(DOCUMENT_ID, mode))
        scope = definitions.COLLECTION_GROUP if self._group else definitions.COLLECTION
        return CompositeIndex(self._collection_id, scope, tuple(components))


def _cut(operand: bytes) -> bytes:
    return operand[: values.MAX_INDEXED_BYTES]


def _directed(part: bytes, order: Order) -> bytes:
    return values.invert(part) if order.descending else part


def _place(position: tuple[bytes, bool]) -> bytes:
    prefix, after = position
    return _beyond(prefix) if after else prefix


def _beyond(prefix: bytes) -> bytes:
    """Return the first place behind all that begins with a prefix; bytes, and numbers, may go on with the last byte."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else path_encoding.AFTER_ALL


def _mirrored(position: tuple[bytes, bool]) -> tuple[bytes, bool]:
    prefix, after = position
    return values.invert(prefix), not after


def _without_end(position: bytes) -> bytes:
    """Return the place of a path, given that of the path with its end mark."""
    if position.endswith(_BEHIND_END):
        return position[:-1] + b"\0"
    return position.removesuffix(values.END)
