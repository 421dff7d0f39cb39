"""A filter and an order of one collection, converted to a `StructuredQuery` message for each shard.

Firestore orders every query by the fields with inequalities, in alphabetical order, and then by `__name__`. This module
always adds the same fields after the first field, for any filter. Therefore one composite index per order and direction
serves all combinations of bounds. A cursor has a value for each of these fields. Reading backward reverses the order
and uses the index of the other direction. `infra/gcp/firestore.indexes.json` defines the indexes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from graphql_api.results.filters import EVERYTHING, Order, Selection
from graphql_api.results.pagination import Cursor
from storage.documents import BadRequest, document_paths
from storage.firestore import encoding
from storage.firestore.messages import Message, StructuredQuery
from storage.firestore.reads.query_conditions import add_condition

_Operator = StructuredQuery.FieldFilter
_OPERATORS = {
    ">": _Operator.GREATER_THAN,
    ">=": _Operator.GREATER_THAN_OR_EQUAL,
    "<": _Operator.LESS_THAN,
    "<=": _Operator.LESS_THAN_OR_EQUAL,
}


class OrderedQuery:
    """A query of one collection of a submitter.

    Documents with equal `order` fields are ordered by the fields `then`, and finally by their ids. `equal` has the
    required value of each given field, or a tuple of possible values. Documents have one of `label_terms`, unless it is
    empty.
    """

    def __init__(
        self,
        collection: str,
        order: Order,
        *,
        then: Sequence[str] = (),
        equal: Mapping[str, str | tuple[str, ...]] | None = None,
        selection: Selection = EVERYTHING,
        select: Sequence[str] = (),
        label_terms: Sequence[str] = (),
    ) -> None:
        self.collection = collection
        self._descending = order.descending
        self._equal = dict(equal or {})
        self._bounds = selection.bounds
        self._label_terms = label_terms or ([selection.label_term] if selection.label_term else [])
        self._fields = tuple(dict.fromkeys((order.field, *then)))
        self._select = tuple(dict.fromkeys((*select, *self._fields))) if select else ()
        self._signature = ("-" if self._descending else "+") + order.field

    def cursor(self, document: Any) -> Cursor:
        """Return the position of `document`, a protocol `Document`, in this query."""
        return Cursor(
            written_at=encoding.to_datetime(document.update_time),
            id=document_paths.id_of(document.name),
            order=self._signature,
            values=self._values(document),
        )

    def rank(self, document: Any) -> tuple[Any, ...]:
        """Return the sort key of `document`. Documents of several shards are merged by this key."""
        return (*self._values(document), document.name)

    def is_descending(self, backward: bool) -> bool:
        """Return whether reading the query forward, or `backward`, starts with the greatest rank."""
        return self._descending != backward

    def message(
        self,
        collection_name: str,
        shard: int,
        limit: int,
        *,
        start: Cursor | None = None,
        includes_start: bool = False,
        end: Cursor | None = None,
        backward: bool = False,
    ) -> StructuredQuery:
        """Return the query for up to `limit` documents of a shard between two cursors. A limit of 0 means no limit.

        `collection_name` is the full name of the collection. Raises `BadRequest` if a cursor is from another query.
        """
        query = StructuredQuery()
        if limit:
            query.limit.value = limit
        query.from_.add(collection_id=self.collection)
        for field in self._select:
            query.select.fields.add(field_path=field)
        self._add_conditions(query, shard)
        descending = self.is_descending(backward)
        direction = StructuredQuery.DESCENDING if descending else StructuredQuery.ASCENDING
        for field in (*self._fields, "__name__"):
            query.order_by.add(direction=direction).field.field_path = field
        if start is not None:
            self._set_cursor(query.start_at, start, collection_name, "before" if backward else "after")
            query.start_at.before = includes_start
        if end is not None:
            self._set_cursor(query.end_at, end, collection_name, "after" if backward else "before")
            query.end_at.before = True
        return query

    def _values(self, document: Any) -> tuple[Any, ...]:
        return tuple(encoding.field_value(document, field) for field in self._fields)

    def _set_cursor(self, target: Message, cursor: Cursor, collection_name: str, argument: str) -> None:
        if cursor.order != self._signature or len(cursor.values) != len(self._fields):
            raise BadRequest(f"expected a cursor from a response with the same order and filter - at `{argument}`")
        for value in cursor.values:
            target.values.append(encoding.to_value(value))
        target.values.add(reference_value=f"{collection_name}/{cursor.id}")

    def _add_conditions(self, query: StructuredQuery, shard: int) -> None:
        for field, value in {"shard": shard, **self._equal}.items():
            add_condition(query, field, _Operator.IN if isinstance(value, tuple) else _Operator.EQUAL, value)
        if self._label_terms:
            add_condition(query, "label_terms", _Operator.ARRAY_CONTAINS_ANY, self._label_terms)
        for bound in self._bounds:
            add_condition(query, bound.field, _OPERATORS[bound.operator], bound.value)
