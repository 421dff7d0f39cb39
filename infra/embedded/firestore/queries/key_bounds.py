"""The bounds of the index keys to scan, from cursors and from filters on the first sorted field.

A bound is the first key at or after a position between keys. Operands are compared in the form of an index: truncated,
and inverted if the order is descending.
"""

from collections.abc import Iterator, Mapping, Sequence

from infra.embedded.firestore.encoding import path_encoding, values
from infra.embedded.firestore.encoding.field_paths import DOCUMENT_ID, FieldPath
from infra.embedded.firestore.queries import filters
from infra.embedded.firestore.queries.filters import FieldFilter
from infra.embedded.firestore.queries.sort_order import Bound, Order
from infra.embedded.firestore.queries.structured_query import Query

Position = tuple[bytes, bool]
"""A position between keys: a prefix, and whether the position is after (not before) all keys with this prefix."""

_AFTER_END = b"\x01"  # the result of `after_prefix` for the end mark of a path


def bounds(
    query: Query,
    conditions: Sequence[FieldFilter],
    equal: Mapping[FieldPath, bytes],
    first_sorted: Order,
    reverse: bool,
) -> tuple[bytes, bytes]:
    """Return the inclusive lower and the exclusive upper bound of the keys, without the prefix.

    `conditions` are the conditions of one disjunction of the query, and `equal` the operands of its equality fields.
    """
    low = list(_filter_positions(conditions, first_sorted, is_lower=True))
    high = list(_filter_positions(conditions, first_sorted, is_lower=False))
    if query.lower is not None:
        low.append(_cursor_position(query, query.lower, equal))
    if query.upper is not None:
        high.append(_cursor_position(query, query.upper, equal))
    if reverse:
        low, high = list(map(inverted, high)), list(map(inverted, low))
    return max(map(key_at, low), default=b""), min(map(key_at, high), default=path_encoding.AFTER_ALL)


def truncated(operand: bytes) -> bytes:
    """Return the part of a value that an index contains."""
    return operand[: values.MAX_INDEXED_BYTES]


def directed(part: bytes, order: Order) -> bytes:
    """Return a part of a key in the direction of an order."""
    return values.invert(part) if order.descending else part


def inverted(position: Position) -> Position:
    """Return the same position among keys in the opposite direction."""
    prefix, after = position
    return values.invert(prefix), not after


def key_at(position: Position) -> bytes:
    """Return the first key at or after a position."""
    prefix, after = position
    return after_prefix(prefix) if after else prefix


def after_prefix(prefix: bytes) -> bytes:
    """Return the first key after all keys with a prefix. The prefix may end with 0xff bytes."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else path_encoding.AFTER_ALL


def without_end(key: bytes) -> bytes:
    """Convert a bound for keys whose paths end with `values.END` to a bound for keys whose paths do not."""
    if key.endswith(_AFTER_END):
        return key[:-1] + b"\0"
    return key.removesuffix(values.END)


def _filter_positions(conditions: Sequence[FieldFilter], first: Order, *, is_lower: bool) -> Iterator[Position]:
    """Yield the lower or upper positions that filters on the first sorted field allow."""
    for each in conditions:
        if each.field != first.field or each.operator not in filters.RANGES:
            continue
        is_name = first.field == DOCUMENT_ID
        operand = each.operands[0][1:] if is_name else truncated(each.operands[0])
        is_whole = is_name or operand == each.operands[0]
        at_least = each.operator in (filters.GREATER, filters.GREATER_OR_EQUAL)
        is_inclusive = not is_whole or each.operator in (filters.GREATER_OR_EQUAL, filters.LESS_OR_EQUAL)
        if (at_least != first.descending) == is_lower:
            yield directed(operand, first), (not is_inclusive if is_lower else is_inclusive)
        else:  # a comparison matches only values of the same type
            type_prefix = b"" if is_name else values.type_prefix(operand)
            yield directed(type_prefix, first), not is_lower


def _cursor_position(query: Query, bound: Bound, equal: Mapping[FieldPath, bytes]) -> Position:
    """Return the position of a cursor in keys that do not contain the equality fields."""
    prefix = b""
    for order, part in zip(query.orders, bound.prefix, strict=False):
        operand = equal.get(order.field)
        if operand is None:
            prefix += part
            continue
        fixed = directed(truncated(operand), order)
        if fixed != part:
            return prefix, fixed < part
    return prefix, bound.after
