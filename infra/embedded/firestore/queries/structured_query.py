"""A query, parsed from a StructuredQuery message: filter, total order, bounds, offset, limit and projection."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from infra.embedded.firestore.encoding import field_paths, path_encoding, resource_names
from infra.embedded.firestore.encoding.field_paths import DOCUMENT_ID, FieldPath
from infra.embedded.firestore.errors import invalid_argument
from infra.embedded.firestore.messages import Document
from infra.embedded.firestore.queries import filters, restrictions, sort_order, vector_search
from infra.embedded.firestore.queries.sort_order import Bound, Order, SortKey


@dataclass(frozen=True, slots=True)
class Query:
    """A query of the documents below `parent`."""

    parent: resource_names.ResourceName
    collection_id: str | None
    """The collection to search, or None for all collections."""
    all_descendants: bool
    """Whether the collection is searched at every depth, as a collection group."""
    where: filters.Filter | None
    disjunctions: tuple[tuple[filters.FieldFilter, ...], ...]
    """`where` in disjunctive normal form, without the disjunctions that match nothing."""
    orders: tuple[Order, ...]
    lower: Bound | None
    upper: Bound | None
    offset: int
    limit: int | None
    projection: tuple[FieldPath, ...] | None
    find_nearest: vector_search.FindNearest | None

    @property
    def path_prefix(self) -> bytes:
        """The bytes with which the path of each document starts that this query covers."""
        if self.collection_id is None or self.all_descendants:
            return self.parent.path
        return self.parent.path + path_encoding.encode_segment(self.collection_id)

    def covers(self, name: resource_names.ResourceName) -> bool:
        """Return whether a document is in one of the collections that this query searches."""
        if name.database != self.parent.database:
            return False
        if self.collection_id is not None and name.segments[-2] != self.collection_id:
            return False
        depth = len(self.parent.segments)
        if name.segments[:depth] != self.parent.segments:
            return False
        return (self.all_descendants and len(name.segments) > depth) or len(name.segments) == depth + 2

    def matching_key(self, path: bytes, document: Any) -> SortKey | None:
        """Return the sort key of a document that matches the filter and the bounds, otherwise None.

        The query must cover the document (see `covers`). Offset and limit are ignored.
        """
        if self.where is not None and not self.where.matches(document):
            return None
        key = sort_order.sort_key(self.orders, path, document)
        return key if key is not None and self.is_within_bounds(key) else None

    def is_within_bounds(self, key: SortKey) -> bool:
        """Return whether a sort key is after the lower bound and before the upper bound."""
        if self.lower is not None and not self.lower.precedes(key):
            return False
        return self.upper is None or not self.upper.precedes(key)

    def ending_at(self, key: SortKey) -> "Query":
        """Return this query, restricted to results up to and including `key`."""
        return replace(self, upper=Bound(key, after=True))

    def starting_after(self, key: SortKey) -> "Query":
        """Return this query, restricted to results after `key`."""
        return replace(self, lower=Bound(key, after=True))

    def projected(self, document: Any) -> Any:
        """Return a document with the fields that the query selects."""
        if self.projection is None:
            return document
        selected = Document(name=document.name, create_time=document.create_time, update_time=document.update_time)
        field_paths.project(document.fields, self.projection, selected.fields)
        return selected


def read(parent_name: str, message: Any, aggregated: Sequence[FieldPath] = ()) -> Query:
    """Return the query that a StructuredQuery message describes, or raise `StatusError`.

    `aggregated` contains the fields of aggregations. A result must have all these fields.
    """
    parent = resource_names.parse_parent(parent_name)
    if len(message.from_) != 1:
        problem = "Query FROM is mandatory" if not message.from_ else "Only one FROM collection is supported."
        raise invalid_argument(problem)
    restrictions.check_size(message, parent)
    where = filters.read(message.where, parent) if message.HasField("where") else None
    restrictions.check(message, where, [field_paths.to_text(path) for path in aggregated], parent)
    source = message.from_[0]
    if source.collection_id:
        resource_names.check_collection_id(source.collection_id)
    orders = sort_order.complete(sort_order.read(message.order_by), where, aggregated)
    if message.offset < 0:
        raise invalid_argument("The offset cannot be negative.")
    if message.HasField("limit") and message.limit.value < 0:
        raise invalid_argument("The limit cannot be negative.")
    if source.collection_id and source.all_descendants and parent.segments:
        raise invalid_argument("collection group queries are only allowed at the root parent")
    lower, upper = (
        sort_order.read_cursor(getattr(message, cursor), orders, len(message.order_by), parent)
        if message.HasField(cursor)
        else None
        for cursor in ("start_at", "end_at")
    )
    return Query(
        parent=parent,
        collection_id=source.collection_id or None,
        all_descendants=source.all_descendants,
        where=where,
        disjunctions=tuple(filters.satisfiable_disjunctions(where)),
        orders=orders,
        lower=lower,
        upper=upper,
        offset=message.offset,
        limit=message.limit.value if message.HasField("limit") else None,
        projection=_projection(message),
        find_nearest=vector_search.read(message),
    )


def _projection(message: Any) -> tuple[FieldPath, ...] | None:
    if not message.select.fields:
        return None  # an empty projection selects all fields
    paths = (field_paths.parse(field.field_path) for field in message.select.fields)
    return tuple(path for path in paths if path != DOCUMENT_ID)
