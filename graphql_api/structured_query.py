"""A filter and an order -> the `StructuredQuery` messages of a page, one for each shard.

Firestore adds orders of its own: first every field with an inequality, by name, then `__name__`. Here a
collection is always ordered by the same fields after the first one, whatever is filtered by, so that one
composite index for each order serves every combination of ranges; and a cursor holds a value for each of them.
The orders and their indexes are in `infra/gcp/firestore.indexes.json`.
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
    """A query of one collection of a submitter, in every shard of it.

    `then` are the fields that decide between documents with an equal `order` field; ids decide at last.
    """

    def __init__(
        self,
        collection: str,
        order: Order,
        *,
        then: Sequence[str] = (),
        equal: Mapping[str, str] | None = None,
        bounds: Sequence[Bound] = (),
        select: Sequence[str] = (),
    ) -> None:
        self.collection = collection
        self.descending = order.descending
        self._equal = dict(equal or {})
        self._bounds = bounds
        self._select = select
        self._fields = (order.field, *(field for field in then if field != order.field))
        self._signature = ("-" if order.descending else "+") + order.field

    def cursor(self, document: Any) -> Cursor:
        """Return the place of `document`, a protocol `Document`, in this query."""
        values: Any = fields.from_document(document)
        return Cursor(
            written_at=fields.to_datetime(document.update_time),
            id=document.name.rpartition("/")[2],
            order=self._signature,
            values=tuple(values[field] for field in self._fields),
        )

    def rank(self, document: Any) -> tuple[Any, ...]:
        """Return what documents of different shards are merged by."""
        cursor = self.cursor(document)
        return (*cursor.values, cursor.id)

    def message(self, collection_name: str, shard: int, limit: int, after: Cursor | None) -> Any:
        """Return the query for the next `limit` documents of a shard; `collection_name` is the full one.

        Raises `BadRequest` where `after` belongs to another order.
        """
        query = StructuredQuery()
        query.limit.value = limit
        query.from_.add(collection_id=self.collection)
        for field in self._select:
            query.select.fields.add(field_path=field)
        self._filter(query.where.composite_filter, shard)
        direction = StructuredQuery.DESCENDING if self.descending else StructuredQuery.ASCENDING
        for field in (*self._fields, "__name__"):
            query.order_by.add(direction=direction).field.field_path = field
        if after is not None:
            if after.order != self._signature or len(after.values) != len(self._fields):
                raise BadRequest("expected a cursor of an answer with the same order - at `after`")
            for value in after.values:
                query.start_at.values.append(fields.to_value(value))
            query.start_at.values.add(reference_value=f"{collection_name}/{after.id}")
            query.start_at.before = False
        return query

    def _filter(self, filters: Any, shard: int) -> None:
        filters.op = StructuredQuery.CompositeFilter.AND
        for field, value in {"shard": shard, **self._equal}.items():
            equal = filters.filters.add().field_filter
            equal.field.field_path, equal.op = field, _Operator.EQUAL
            equal.value.CopyFrom(fields.to_value(value))
        for bound in self._bounds:
            ranged = filters.filters.add().field_filter
            ranged.field.field_path, ranged.op = bound.field, _OPERATORS[bound.operator]
            ranged.value.CopyFrom(fields.to_value(bound.value))
