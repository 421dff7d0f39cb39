"""A filter and an order -> a Firestore `StructuredQuery` that pages with cursors.

Firestore adds orders of its own: first every field with an inequality, by name, then `__name__`. They are
written out here, because a cursor must hold a value for each of them to go on at exactly the next document.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from google.cloud.firestore_v1.types import query as _query

from documents import BadRequest, fields
from graphql_api.pages import Bound, Cursor, Order

StructuredQuery: Any = _query.StructuredQuery.pb()
_Operator = StructuredQuery.FieldFilter
_OPERATORS = {
    ">": _Operator.GREATER_THAN,
    ">=": _Operator.GREATER_THAN_OR_EQUAL,
    "<": _Operator.LESS_THAN,
    "<=": _Operator.LESS_THAN_OR_EQUAL,
}


class OrderedQuery:
    """A query of one collection; `cursor` says where a document stands in it, `message` gives a page of it."""

    def __init__(
        self,
        collection: str,
        order: Order,
        *,
        equal: Mapping[str, str] | None = None,
        bounds: Sequence[Bound] = (),
        select: Sequence[str] = (),
    ) -> None:
        self._collection = collection
        self._equal = dict(equal or {})
        self._bounds = bounds
        self._select = select
        self._descending = order.descending
        others = sorted({bound.field for bound in bounds} - {order.field})
        self._fields = (order.field, *others)
        self._signature = ("-" if order.descending else "+") + ",".join(self._fields)

    def cursor(self, document: Any, document_id: str) -> Cursor:
        """Return the place of `document`, a protocol `Document`, in this query."""
        values: Any = fields.from_document(document)
        return Cursor(
            written_at=fields.to_datetime(document.update_time),
            id=document_id,
            order=self._signature,
            values=tuple(values[field] for field in self._fields),
        )

    def message(self, collection_name: str, limit: int, after: Cursor | None) -> Any:
        """Return the `StructuredQuery` for the next `limit` documents; `collection_name` is the full one.

        Raises `BadRequest` where `after` belongs to another order.
        """
        query = StructuredQuery()
        query.limit.value = limit
        query.from_.add(collection_id=self._collection)
        for field in self._select:
            query.select.fields.add(field_path=field)
        if self._equal or self._bounds:
            self._filter(query.where.composite_filter)
        direction = StructuredQuery.DESCENDING if self._descending else StructuredQuery.ASCENDING
        for field in (*self._fields, "__name__"):
            query.order_by.add(direction=direction).field.field_path = field
        if after is not None:
            if after.order != self._signature:
                raise BadRequest("expected a cursor of an answer with the same order and filter - at `after`")
            for value in after.values:
                query.start_at.values.append(fields.to_value(value))
            query.start_at.values.add(reference_value=f"{collection_name}/{after.id}")
            query.start_at.before = False
        return query

    def _filter(self, filters: Any) -> None:
        filters.op = StructuredQuery.CompositeFilter.AND
        for field, value in self._equal.items():
            equal = filters.filters.add().field_filter
            equal.field.field_path, equal.op = field, _Operator.EQUAL
            equal.value.CopyFrom(fields.to_value(value))
        for bound in self._bounds:
            ranged = filters.filters.add().field_filter
            ranged.field.field_path, ranged.op = bound.field, _OPERATORS[bound.operator]
            ranged.value.CopyFrom(fields.to_value(bound.value))
