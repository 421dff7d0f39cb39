"""A StructuredQuery, read and completed: which documents, in which order, from where to where.

Every query has a total order: what its inequalities and its author leave open, the document name
decides. A document's place in that order is its `sort_key`, one byte string for each field, and cursors
are the beginnings of such keys; so paging, limits and live results all come down to comparing bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from infra.embedded.firestore.encoding import field_paths, resource_names, values
from infra.embedded.firestore.encoding.field_paths import DOCUMENT_ID, FieldPath
from infra.embedded.firestore.errors import invalid_argument
from infra.embedded.firestore.messages import Document
from infra.embedded.firestore.queries import filters, restrictions, vector_search


@dataclass(frozen=True, slots=True)
class Order:
    """One field to sort by."""

    field: FieldPath
    descending: bool


SortKey = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Edge:
    """A point in the order of a query: before or after everything that begins with `parts`."""

    parts: SortKey
    after: bool

    def precedes(self, key: SortKey) -> bool:
        """Return whether a document with this sort key comes behind the edge."""
        head = key[: len(self.parts)]
        return head > self.parts or (head == self.parts and not self.after)


@dataclass(frozen=True, slots=True)
class Query:
    """Which documents, in which order, between which edges."""

    parent: resource_names.ResourceName
    collection_id: str | None  # None: of any collection
    all_descendants: bool
    where: filters.Test | None
    alternatives: tuple[tuple[filters.FieldTest, ...], ...]
    orders: tuple[Order, ...]
    explicit_orders: int
    lower: Edge | None
    upper: Edge | None
    offset: int
    limit: int | None
    projection: tuple[FieldPath, ...] | None
    nearest: vector_search.Nearest | None

    def covers(self, name: resource_names.ResourceName) -> bool:
        """Return whether a document is in the collections that this query is about."""
        if name.database != self.parent.database:
            return False
        if self.collection_id is not None and name.segments[-2] != self.collection_id:
            return False
        depth = len(self.parent.segments)
        if name.segments[:depth] != self.parent.segments:
            return False
        return (self.all_descendants and len(name.segments) > depth) or len(name.segments) == depth + 2

    def place(self, path: bytes, document: Any) -> SortKey | None:
        """Return the sort key of a document that the query finds, or None; limit and offset apart."""
        if self.where is not None and not self.where.holds(document):
            return None
        key = self.sort_key(path, document)
        if key is None or (self.lower is not None and not self.lower.precedes(key)):
            return None
        return None if self.upper is not None and self.upper.precedes(key) else key

    def sort_key(self, path: bytes, document: Any) -> SortKey | None:
        """Return what sorts a document in this query, or None if it lacks a field of the order."""
        parts = []
        for order in self.orders:
            if order.field == DOCUMENT_ID:
                encoded = path + values.END
            else:
                value = field_paths.get(document.fields, order.field)
                if value is None:
                    return None
                encoded = values.encode_indexed(value)
            parts.append(values.invert(encoded) if order.descending else encoded)
        return tuple(parts)

    def until(self, key: SortKey) -> "Query":
        """Return this query, ending with the document that has this sort key."""
        return replace(self, upper=Edge(key, after=True))

    def beyond(self, key: SortKey) -> "Query":
        """Return this query, beginning behind the document that has this sort key."""
        return replace(self, lower=Edge(key, after=True))

    def projected(self, document: Any) -> Any:
        """Return what the query selects of a document."""
        if self.projection is None:
            return document
        selected = Document(name=document.name, create_time=document.create_time, update_time=document.update_time)
        field_paths.project(document.fields, self.projection, selected.fields)
        return selected


def read(parent_name: str, message: Any, also_by: Sequence[FieldPath] = ()) -> Query:
    """Return the query that a StructuredQuery message stands for, or refuse it.

    `also_by` are fields to sort by after all that the message asks for.
    """
    parent = resource_names.parse_parent(parent_name)
    if len(message.from_) != 1:
        raise invalid_argument(
            "Query FROM is mandatory" if not message.from_ else "Only one FROM collection is supported."
        )
    restrictions.check(message, [field_paths.to_text(path) for path in also_by])
    source = message.from_[0]
    if source.collection_id:
        resource_names.check_id(source.collection_id)
    where = filters.read(message.where, parent) if message.HasField("where") else None
    explicit = tuple(
        Order(field_paths.parse(order.field.field_path), order.direction == 2) for order in message.order_by
    )
    orders = complete_orders(explicit, where, also_by)
    if message.offset < 0:
        raise invalid_argument("The offset cannot be negative.")
    if message.HasField("limit") and message.limit.value < 0:
        raise invalid_argument("The limit cannot be negative.")
    if source.collection_id and source.all_descendants and parent.segments:
        raise invalid_argument("collection group queries are only allowed at the root parent")
    return Query(
        parent=parent,
        collection_id=source.collection_id or None,
        all_descendants=source.all_descendants,
        where=where,
        alternatives=tuple(filters.disjunctions(where)),
        orders=orders,
        explicit_orders=len(explicit),
        lower=_edge(message.start_at, orders, parent) if message.HasField("start_at") else None,
        upper=_edge(message.end_at, orders, parent) if message.HasField("end_at") else None,
        offset=message.offset,
        limit=message.limit.value if message.HasField("limit") else None,
        projection=_projection(message),
        nearest=vector_search.read(message),
    )


def complete_orders(
    explicit: tuple[Order, ...], where: filters.Test | None, also_by: Sequence[FieldPath] = ()
) -> tuple[Order, ...]:
    """Return the whole order: as asked, then fields of inequalities, then others, then the name."""
    orders = list(explicit)
    named = {order.field for order in orders}
    descending = orders[-1].descending if orders else False
    unequal = {test.field for test in where.tests() if test.operator in filters.INEQUALITIES} if where else set()
    orders.extend(Order(field, descending) for field in sorted(unequal - named - {DOCUMENT_ID}))
    if DOCUMENT_ID not in named:
        named = {order.field for order in orders}
        orders.extend(Order(field, descending) for field in also_by if field not in named)
        orders.append(Order(DOCUMENT_ID, descending))
    last = next(index for index, order in enumerate(orders) if order.field == DOCUMENT_ID)
    return tuple(orders[: last + 1])  # names differ, so nothing behind the name matters


def _projection(message: Any) -> tuple[FieldPath, ...] | None:
    if not message.HasField("select"):
        return None
    paths = (field_paths.parse(field.field_path) for field in message.select.fields)
    return tuple(path for path in paths if path != DOCUMENT_ID)


def _edge(cursor: Any, orders: tuple[Order, ...], parent: resource_names.ResourceName) -> Edge:
    if len(cursor.values) > len(orders):
        raise invalid_argument("Cursor has too many values.")
    parts = []
    for order, value in zip(orders, cursor.values, strict=False):
        if order.field == DOCUMENT_ID:
            if value.WhichOneof("value_type") != "reference_value":
                raise invalid_argument("The cursor value of __name__ must be a reference.")
            name = resource_names.parse(value.reference_value)
            if name.database != parent.database:
                raise invalid_argument("The cursor key is in a different database than the query")
            encoded = name.path + values.END
        else:
            encoded = values.encode_indexed(value)
        parts.append(values.invert(encoded) if order.descending else encoded)
    return Edge(tuple(parts), after=not cursor.before)
