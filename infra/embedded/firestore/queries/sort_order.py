"""The sort order of a query, and sort keys: the position of a document in that order.

Every query has a total order. It consists of the fields that the client requested, the fields of inequality filters and
the document name. A sort key holds one byte string for each field, and a cursor is a prefix of a sort key. Paging,
limits and live results can therefore compare bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from infra.embedded.firestore.encoding import field_paths, limits, resource_names, values
from infra.embedded.firestore.encoding.field_paths import DOCUMENT_ID, FieldPath
from infra.embedded.firestore.errors import invalid_argument
from infra.embedded.firestore.queries import filters

_DIRECTIONS = (0, 1, 2)
"""Unspecified, which means ascending; ascending; descending."""

SortKey = tuple[bytes, ...]
KeyedDocument = tuple[SortKey, Any]
"""A sort key and a Document message."""


class Order(NamedTuple):
    """A field to sort by."""

    field: FieldPath
    descending: bool


@dataclass(frozen=True, slots=True)
class Bound:
    """A position between sort keys: before or after all keys that start with `prefix`."""

    prefix: SortKey
    after: bool

    def precedes(self, key: SortKey) -> bool:
        """Return whether a sort key is after this bound."""
        start = key[: len(self.prefix)]
        return start > self.prefix or (start == self.prefix and not self.after)


def sort_key(
    orders: Sequence[Order], path: bytes, document: Any, fixed: Mapping[FieldPath, bytes] = MappingProxyType({})
) -> SortKey | None:
    """Return the sort key of a document, or None if the document lacks a field of the order.

    `fixed` contains encoded values that replace those of the document.
    """
    parts = []
    for order in orders:
        if order.field == DOCUMENT_ID:
            encoded = path + values.END
        elif order.field in fixed:
            encoded = fixed[order.field][: values.MAX_INDEXED_BYTES]
        else:
            value = field_paths.get(document.fields, order.field)
            if value is None:
                return None
            encoded = values.encode_indexed(value)
        parts.append(values.invert(encoded) if order.descending else encoded)
    return tuple(parts)


def read(order_by: Sequence[Any]) -> tuple[Order, ...]:
    """Return the orders of the `order_by` field of a StructuredQuery message."""
    if any(order.direction not in _DIRECTIONS for order in order_by):
        raise invalid_argument("Unrecognized ordering.")
    return tuple(Order(field_paths.parse(order.field.field_path), order.direction == 2) for order in order_by)


def complete(
    requested: Sequence[Order], where: filters.Filter | None, aggregated: Sequence[FieldPath]
) -> tuple[Order, ...]:
    """Return the total order: requested fields, fields of inequalities, aggregated fields, document name."""
    orders = list(requested)
    named = {order.field for order in orders}
    descending = orders[-1].descending if orders else False
    unequal = filters.unequal_fields(where)
    orders.extend(Order(field, descending) for field in sorted(unequal - named - {DOCUMENT_ID}))
    if DOCUMENT_ID not in named:
        named = {order.field for order in orders}
        orders.extend(Order(field, descending) for field in aggregated if field not in named)
        orders.append(Order(DOCUMENT_ID, descending))
    last = next(index for index, order in enumerate(orders) if order.field == DOCUMENT_ID)
    return tuple(orders[: last + 1])  # names are unique, so fields after the name have no effect


def read_cursor(cursor: Any, orders: Sequence[Order], requested: int, parent: resource_names.ResourceName) -> Bound:
    """Return the bound that a Cursor message describes, or raise `StatusError`.

    `requested` is the number of orders in the request. The cursor has no values for other orders.
    """
    if len(cursor.values) > requested:
        raise invalid_argument("Cursor has too many values.")
    parts = []
    for order, value in zip(orders, cursor.values, strict=False):
        if order.field == DOCUMENT_ID:
            if value.WhichOneof("value_type") != "reference_value":
                raise invalid_argument("The cursor value of __name__ must be a reference.")
            name = resource_names.parse(value.reference_value)
            if name.database != parent.database:
                raise invalid_argument("The cursor key is in a different database than the query")
            resource_names.parse_document(value.reference_value, parent.database)
            encoded = name.path + values.END
        else:
            limits.check_operand(value, field_paths.to_text(order.field))
            encoded = values.encode_indexed(value)
        parts.append(values.invert(encoded) if order.descending else encoded)
    return Bound(tuple(parts), after=not cursor.before)
