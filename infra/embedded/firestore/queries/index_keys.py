"""Filters and sort keys from index keys, without reading documents.

The key of an index entry contains the values of all sorted fields and the path of the document. A filter on these
fields therefore needs no document. This saves reads if a range has many entries but few of them match.

In a key, the end of an array, of a map, or of a truncated value cannot be found. The caller then reads the document.

Filters can match so few documents that most keys of a range are rejected. After the first rejected key, SQLite
therefore compares the values in the keys, as far as it can, and returns few of the keys that do not match. Measured
with three ranges: 0.6 µs per rejected key instead of 2 µs.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from typing import NamedTuple

from infra.embedded.firestore.encoding import number_encoding, path_encoding, values
from infra.embedded.firestore.encoding.field_paths import DOCUMENT_ID
from infra.embedded.firestore.indexes import entries
from infra.embedded.firestore.indexes.entry_tables import EntryTables, KeyCondition
from infra.embedded.firestore.queries import filters
from infra.embedded.firestore.queries.planner import KeyRange
from infra.embedded.firestore.queries.sort_order import SortKey
from infra.embedded.firestore.queries.structured_query import Query

KEYS_PER_PLACE = 1_000
"""After about this number of rejected keys, a search yields a place without a result."""

_VALUE = b"|".join(
    (
        re.escape(number_encoding.TAG) + rb"(?:\x01.{8}(?:\x00|\x01.{8})|\x00)",
        re.escape(values.TIMESTAMP) + rb".{12}",
        re.escape(values.NULL),
        re.escape(values.BOOLEAN) + rb".",
        b"[" + re.escape(values.STRING + values.BYTES) + rb"].*?" + re.escape(path_encoding.TEXT_END),
    )
)

_Mark = tuple[int, bytes]
"""A place in a key, and the bytes at this place."""


class KeyFilter:
    """Decides from the keys of one range which documents match a query. Create it with `of`."""

    def __init__(self, query: Query, key_range: KeyRange) -> None:
        self._query = query
        self._start = len(key_range.prefixes[0])
        fixed = {each.field: each.operands[0] for each in key_range.conditions if each.operator == filters.EQUAL}
        self._fields = key_range.fields
        self._fixed_parts = tuple(fixed.values())
        places = {field: index for index, field in enumerate((*self._fields, DOCUMENT_ID, *fixed))}
        self._orders = [(places[order.field], order.descending) for order in query.orders]
        conditions = [
            (self._fields.index(each.field), each)
            for each in key_range.conditions
            if each.operator not in (filters.EQUAL, filters.CONTAINS)
        ]
        self._ranges = [(index, *each.limits()) for index, each in conditions if each.operator in filters.RANGES]
        self._conditions = [(index, each) for index, each in conditions if each.operator not in filters.RANGES]

    @classmethod
    def of(cls, query: Query, key_range: KeyRange) -> "KeyFilter | None":
        """Return the filter for a range, or None if its keys do not decide which documents match."""
        equal = [each for each in key_range.conditions if each.operator in (filters.EQUAL, filters.CONTAINS)]
        others = [each for each in key_range.conditions if each.operator not in (filters.EQUAL, filters.CONTAINS)]
        fixed = {each.field for each in equal if each.operator == filters.EQUAL}
        rest = [order for order in query.orders if order.field not in fixed]
        fields = {order.field for order in rest} - {DOCUMENT_ID}
        is_usable = (
            len(key_range.prefixes) == 1
            and (equal or fields)  # otherwise the range can contain documents of nested collections
            and all(order.descending == key_range.reverse for order in rest)
            and len({each.field for each in equal}) == len(equal)
            and all(len(each.operands[0]) < values.MAX_INDEXED_BYTES for each in equal)
            and all(each.field in fields for each in others)
            and DOCUMENT_ID not in {each.field for each in equal}
            and not (query.all_descendants and query.parent.segments)
        )
        return cls(query, key_range) if is_usable else None

    def parts(self, key: bytes, size: int) -> Sequence[bytes] | None:
        """Return the encoded values of the sorted fields in a key, or None if their ends cannot be found.

        `size` is the number stored with the key.
        """
        return split_values(key, self._start, len(key) - size, len(self._fields))

    def matches(self, parts: Sequence[bytes]) -> bool:
        """Return whether the values of a key meet the conditions. Cursors are ignored."""
        for index, low, high in self._ranges:
            if not low <= parts[index] < high:
                return False
        return all(condition.matches_value(parts[index]) for index, condition in self._conditions)

    def mismatch(self, parts: Sequence[bytes], one_in: int) -> KeyCondition | None:
        """Return an SQL condition that only keys without a match meet, or None. `parts` are those of any key.

        The condition can use only keys whose values have the same places as in `parts`. It excludes a random one of
        `one_in` of these keys, so that the caller sees the progress of a search.
        """
        place = self._start + 1  # SQL counts from 1
        checks, marks, parameters = list[tuple[str, str]](), list[_Mark](), list[bytes]()
        for index, part in enumerate(parts):
            fixed = _marks(part, place)
            if not fixed:
                break
            marks += fixed
            limits = [(low, high) for field, low, high in self._ranges if field == index > 0]  # the scan limits field 0
            if limits:
                value = f"substr(key, {place}, {len(part)})"
                checks.append((_at_places(marks), " AND ".join([f"{value} >= ? AND {value} < ?"] * len(limits))))
                parameters += chain.from_iterable(limits)
                marks = []
            place += len(part)
        if not checks:
            return None
        sql = "FALSE"
        for is_readable, is_within in reversed(checks):
            sql = f"{is_readable} AND (NOT ({is_within}) OR {sql})"
        return KeyCondition(f"{sql} AND random() % {one_in}", tuple(parameters))

    def sort_key(self, parts: Sequence[bytes], key: bytes, size: int) -> SortKey | None:
        """Return the sort key of the document of a key, or None if the document does not match the query."""
        return self.place(parts, key, size) if self.matches(parts) else None

    def place(self, parts: Sequence[bytes], key: bytes, size: int) -> SortKey | None:
        """Return the place of a document in the order of the query, or None if it is outside of the cursors."""
        found = self._sort_key(parts, key[-size:])
        return found if self._query.is_within_bounds(found) else None

    def _sort_key(self, parts: Sequence[bytes], name: bytes) -> SortKey:
        """Return a part for each order of the query. The fields with a fixed value are not among `parts`."""
        ascending = (*parts, name, *self._fixed_parts)
        return tuple(
            [values.invert(ascending[index]) if descending else ascending[index] for index, descending in self._orders]
        )


class FoundKey(NamedTuple):
    """A key, or a place in the order of the query at which no document matches."""

    key: bytes
    size: int
    """The number of bytes of the path at the end of the key."""
    sort_key: SortKey | None
    """The sort key of the matching document. None if the key does not show whether the document matches."""
    place: SortKey | None
    """The place, or None if this is a key."""
    rejected: int
    """About how many keys before this one were rejected."""


def keys_in(
    tables: EntryTables,
    collection_number: int,
    key_range: KeyRange,
    after: bytes | None = None,
    skipped: KeyCondition | None = None,
) -> Iterator[tuple[bytes, int]]:
    """Yield the keys of a range with one prefix, each with the size of its path.

    Start after the key `after`, and leave out the keys that meet the condition `skipped`.
    """
    (prefix,) = key_range.prefixes
    low, high = prefix + key_range.low, prefix + key_range.high
    if after is not None:
        low, high = (low, after) if key_range.reverse else (after + b"\0", high)
    return tables.scan(collection_number, low, high, key_range.reverse, skipped=skipped)


def search(
    tables: EntryTables, collection_number: int, key_range: KeyRange, key_filter: KeyFilter
) -> Iterator[FoundKey]:
    """Yield the keys of a range that match or may match, and some places between them."""
    rejected, weight, next_place = 0, 1, KEYS_PER_PLACE
    keys = keys_in(tables, collection_number, key_range)
    while (entry := next(keys, None)) is not None:
        key, size = entry
        parts = key_filter.parts(key, size)
        sort_key = None if parts is None else key_filter.sort_key(parts, key, size)
        if parts is None or sort_key is not None:
            yield FoundKey(key, size, sort_key, None, rejected)
            continue
        rejected += weight
        if rejected >= next_place and (place := key_filter.place(parts, key, size)) is not None:
            next_place = rejected + KEYS_PER_PLACE
            yield FoundKey(key, size, None, place, rejected)
        if rejected == 1 and (skipped := key_filter.mismatch(parts, KEYS_PER_PLACE)) is not None:
            weight = KEYS_PER_PLACE
            keys = keys_in(tables, collection_number, key_range, key, skipped)


def intersected_paths(tables: EntryTables, collection_number: int, key_range: KeyRange) -> Iterator[tuple[bytes, bool]]:
    """Yield the paths that exist with every prefix of a range, each with True, by a zigzag merge join.

    Also yield some of the other paths, each with False. Each step reads the next index, starting at the farthest
    position that any index has reached.
    """
    low, high, reverse = key_range.low, key_range.high, key_range.reverse
    candidate, path, agreeing = b"", b"", 0
    step, next_place = 0, KEYS_PER_PLACE
    while True:
        prefix = key_range.prefixes[step % len(key_range.prefixes)]
        step += 1
        entry = next(tables.scan(collection_number, prefix + low, prefix + high, reverse, limit=1), None)
        if entry is None:
            return
        rest = entry[0][len(prefix) :]
        if rest == candidate:
            agreeing += 1
        else:
            if agreeing and step >= next_place:
                next_place = step + KEYS_PER_PLACE
                yield path, False
            candidate, path, agreeing = rest, entries.path_of(*entry), 1
        if agreeing == len(key_range.prefixes):
            yield path, True
            agreeing = 0
            low, high = (low, rest) if reverse else (rest + b"\0", high)
        else:
            low, high = (low, rest + b"\0") if reverse else (rest, high)


def split_values(key: bytes, start: int, end: int, count: int) -> Sequence[bytes] | None:
    """Return the `count` encoded values between two positions of a key, or None if the end of a value is unknown."""
    found = _values(count).fullmatch(key, start, end)
    if found is None:
        return None
    parts: Sequence[bytes] = found.groups()
    if end - start >= values.MAX_INDEXED_BYTES and any(len(part) >= values.MAX_INDEXED_BYTES for part in parts):
        return None  # the value may be truncated, and the end that was found may belong to a later value
    return parts


def _marks(part: bytes, place: int) -> list[_Mark]:
    """Return bytes of a value that determine its size, each with its place in the key. `place` is that of the value.

    Return an empty list if the size does not depend on a few bytes.
    """
    if part.startswith(values.TIMESTAMP):
        return [(place, values.TIMESTAMP)]
    if number_encoding.is_exact(part):
        return [(place, part[:2]), (place + len(part) - 1, part[-1:])]
    return []


def _at_places(marks: Sequence[_Mark]) -> str:
    """Return the SQL condition that a key has these marks. Adjacent marks are compared together."""
    joined: list[_Mark] = []
    for place, mark in marks:
        if joined and joined[-1][0] + len(joined[-1][1]) == place:
            joined[-1] = joined[-1][0], joined[-1][1] + mark
        else:
            joined.append((place, mark))
    return " AND ".join(f"substr(key, {place}, {len(mark)}) = x'{mark.hex()}'" for place, mark in joined)


@cache
def _values(count: int) -> re.Pattern[bytes]:
    """Return a pattern for values. It takes half of the time of a loop over the values of a key."""
    return re.compile(b"(?>(%b))" % _VALUE * count, re.DOTALL)
