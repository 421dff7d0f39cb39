"""Filters and sort keys from index keys, without reading documents.

The key of an index entry contains the values of all sorted fields and the path of the document. A filter on these
fields therefore needs no document. This saves reads if a range has many entries but few of them match.

In a key, the end of an array, of a map, or of a truncated value cannot be found. The caller then reads the document.
"""

import re
from collections.abc import Sequence
from functools import cache

from infra.embedded.firestore.encoding import number_encoding, path_encoding, values
from infra.embedded.firestore.encoding.field_paths import DOCUMENT_ID
from infra.embedded.firestore.queries import filters
from infra.embedded.firestore.queries.planner import KeyRange
from infra.embedded.firestore.queries.sort_order import SortKey
from infra.embedded.firestore.queries.structured_query import Query

_VALUE = b"|".join(
    (
        re.escape(number_encoding.TAG) + rb"(?:\x01.{8}(?:\x00|\x01.{8})|\x00)",
        re.escape(values.TIMESTAMP) + rb".{12}",
        re.escape(values.NULL),
        re.escape(values.BOOLEAN) + rb".",
        b"[" + re.escape(values.STRING + values.BYTES) + rb"].*?" + re.escape(path_encoding.TEXT_END),
    )
)


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


def split_values(key: bytes, start: int, end: int, count: int) -> Sequence[bytes] | None:
    """Return the `count` encoded values between two positions of a key, or None if the end of a value is unknown."""
    found = _values(count).fullmatch(key, start, end)
    if found is None:
        return None
    parts: Sequence[bytes] = found.groups()
    if end - start >= values.MAX_INDEXED_BYTES and any(len(part) >= values.MAX_INDEXED_BYTES for part in parts):
        return None  # the value may be truncated, and the end that was found may belong to a later value
    return parts


@cache
def _values(count: int) -> re.Pattern[bytes]:
    """Return a pattern for values. It takes half of the time of a loop over the values of a key."""
    return re.compile(b"(?>(%b))" % _VALUE * count, re.DOTALL)
