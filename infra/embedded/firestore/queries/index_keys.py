"""Filters and sort keys from index keys, without reading documents.

The key of an index entry contains the values of all sorted fields and the path of the document. A filter on these
fields therefore needs no document. This saves reads if a range has many entries but few of them match.

In a key, the end of an array, of a map, or of a truncated value cannot be found. The caller then reads the document.
"""

from infra.embedded.firestore.encoding import number_encoding, path_encoding, values
from infra.embedded.firestore.encoding.field_paths import DOCUMENT_ID
from infra.embedded.firestore.queries import filters
from infra.embedded.firestore.queries.planner import KeyRange
from infra.embedded.firestore.queries.sort_order import SortKey
from infra.embedded.firestore.queries.structured_query import Query

_NUMBER, _TIMESTAMP = number_encoding.TAG[0], values.TIMESTAMP[0]
_TEXTS = (values.STRING[0], values.BYTES[0])
_FIXED = {values.NULL[0]: 1, values.BOOLEAN[0]: 2, _TIMESTAMP: 13}
"""The number of bytes of values of a type, with the tag."""


class KeyFilter:
    """Decides from the keys of one range which documents match a query. Create it with `of`."""

    def __init__(self, query: Query, key_range: KeyRange) -> None:
        self._query = query
        self._start = len(key_range.prefixes[0])
        self._fixed = {each.field: each.operands[0] for each in key_range.conditions if each.operator == filters.EQUAL}
        self._fields = key_range.fields
        self._conditions = [
            (self._fields.index(each.field), each)
            for each in key_range.conditions
            if each.operator not in (filters.EQUAL, filters.CONTAINS)
        ]

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

    def parts(self, key: bytes, size: int) -> list[bytes] | None:
        """Return the encoded values of the sorted fields in a key, or None if their ends cannot be found.

        `size` is the number stored with the key.
        """
        parts = split_values(key, self._start, len(key) - size)
        return parts if parts is not None and len(parts) == len(self._fields) else None

    def matches(self, parts: list[bytes]) -> bool:
        """Return whether the values of a key meet the conditions. Cursors are ignored."""
        return all(condition.matches_value(parts[index]) for index, condition in self._conditions)

    def sort_key(self, parts: list[bytes], key: bytes, size: int) -> SortKey | None:
        """Return the sort key of the document of a key, or None if the document does not match the query."""
        return self.place(parts, key, size) if self.matches(parts) else None

    def place(self, parts: list[bytes], key: bytes, size: int) -> SortKey | None:
        """Return the place of a document in the order of the query, or None if it is outside of the cursors."""
        found = self._sort_key(parts, key[-size:])
        return found if self._query.is_within_bounds(found) else None

    def _sort_key(self, parts: list[bytes], name: bytes) -> SortKey:
        """Return a part for each order of the query. The fields with a fixed value are not among `parts`."""
        ascending = dict(zip(self._fields, parts, strict=True))
        ascending[DOCUMENT_ID] = name
        return tuple(
            values.invert(part) if order.descending else part
            for order in self._query.orders
            for part in (ascending.get(order.field) or self._fixed[order.field],)
        )


def split_values(key: bytes, start: int, end: int) -> list[bytes] | None:
    """Return the encoded values between two positions of a key, or None if one of them has no known end."""
    parts = []
    while start < end:
        tag = key[start]
        if tag == _NUMBER:
            is_nan = key[start + 1] == number_encoding.NAN[1]
            stop = start + (2 if is_nan else number_encoding.EXACT_BYTES)
            if not is_nan and key[stop - 1] != 0:
                stop += number_encoding.FRACTION_BYTES
        elif tag in _FIXED:
            stop = start + _FIXED[tag]
        elif tag in _TEXTS:
            stop = path_encoding.end_of_text(key, start + 1)
            if stop - start >= values.MAX_INDEXED_BYTES:
                return None
        else:
            return None
        parts.append(key[start:stop])
        start = stop
    return parts if start == end else None
