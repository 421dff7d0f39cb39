"""Queries and aggregations of Google's client, and the strategies that generate them."""

from dataclasses import dataclass
from typing import Any

from google.cloud.firestore import And, FieldFilter, Or, Query
from google.cloud.firestore_v1.field_path import FieldPath
from hypothesis import strategies as st

from tests.differential.compared_servers import ComparedServer
from tests.differential.values import FIELDS, Reference, common_or_any, resolve

NAME = ("__name__",)
Path = tuple[str, ...]


def api_path(path: Path) -> str:
    """Return the text of a field path."""
    return "__name__" if path == NAME else FieldPath(*path).to_api_repr()


@dataclass(frozen=True)
class Filter:
    """One condition on one field."""

    field: Path
    operator: str
    operand: Any

    def build(self, server: ComparedServer) -> Any:
        """Return the filter as an object of the client."""
        return FieldFilter(api_path(self.field), self.operator, resolve(self.operand, server))


@dataclass(frozen=True)
class Composite:
    """Several conditions of which all (`and`) or any (`or`) must hold."""

    kind: str
    parts: tuple["Condition", ...]

    def build(self, server: ComparedServer) -> Any:
        """Return the filter as an object of the client."""
        return (And if self.kind == "and" else Or)([part.build(server) for part in self.parts])


Condition = Filter | Composite


@dataclass(frozen=True)
class Cursor:
    """The start or the end of a query: at values of its orders, or at a document."""

    kind: str  # start_at, start_after, end_at, end_before
    at: tuple[Any, ...] | str

    def add_to(self, query: Any, server: ComparedServer) -> Any:
        """Return the query with this cursor."""
        if isinstance(self.at, str):
            snapshot = server.client.document(self.at).get()
            return getattr(query, self.kind)(snapshot) if snapshot.exists else query
        return getattr(query, self.kind)([resolve(value, server) for value in self.at])


@dataclass(frozen=True)
class Order:
    """A field to sort by."""

    field: Path
    direction: str


@dataclass(frozen=True)
class Find:
    """A query. Calling it returns the matching documents in order."""

    collection: str
    group: bool
    where: Condition | None
    orders: tuple[Order, ...]
    cursors: tuple[Cursor, ...]
    offset: int | None
    limit: int | None
    is_limit_to_last: bool
    projection: tuple[Path, ...] | None

    def build(self, server: ComparedServer) -> Any:
        """Return the query as an object of the client."""
        query = (
            server.client.collection_group(self.collection) if self.group else server.client.collection(self.collection)
        )
        if self.where is not None:
            query = query.where(filter=self.where.build(server))
        for order in self.orders:
            query = query.order_by(api_path(order.field), direction=order.direction)
        for cursor in self.cursors:
            query = cursor.add_to(query, server)
        if self.offset is not None:
            query = query.offset(self.offset)
        if self.limit is not None:
            query = query.limit_to_last(self.limit) if self.is_limit_to_last else query.limit(self.limit)
        if self.projection is not None:
            query = query.select([api_path(path) for path in self.projection])
        return query

    def __call__(self, server: ComparedServer) -> Any:
        """Run the query."""
        return self.build(server).get(retry=None, timeout=30)


@dataclass(frozen=True)
class Aggregate:
    """Aggregations over the result of a query."""

    query: Find
    figures: tuple[tuple[str, Path], ...]

    def __call__(self, server: ComparedServer) -> Any:
        """Run the aggregation."""
        aggregation = self.query.build(server)
        for number, (operator, path) in enumerate(self.figures):
            field = () if operator == "count" else (api_path(path),)
            aggregation = getattr(aggregation, operator)(*field, alias=f"figure {number}")
        (results,) = aggregation.get(retry=None, timeout=30)
        return {result.alias: result.value for result in results}


few = ("a", "b", "c", "a.b")
fields = st.one_of(
    st.sampled_from(few).map(lambda name: (name,)),
    st.sampled_from(few).map(lambda name: (name,)),
    st.sampled_from(few).map(lambda name: (name,)),
    st.sampled_from(FIELDS).map(lambda name: (name,)),
    st.tuples(st.sampled_from(few), st.sampled_from(few)),
)
references = st.sampled_from(("a/x", "a/y", "a/xy", "a/é", "a/10", "a/\uffff", "a/x/a/x", "b/x")).map(Reference)
comparisons = st.sampled_from(("<", "<=", "==", "!=", ">=", ">", "array_contains"))
several = st.lists(common_or_any, min_size=1, max_size=4)
tests = st.one_of(
    st.builds(Filter, fields, comparisons, common_or_any),
    st.builds(Filter, fields, comparisons, common_or_any),
    st.builds(Filter, fields, st.sampled_from(("==", "!=")), st.sampled_from((None, float("nan")))),
    st.builds(Filter, fields, st.sampled_from(("in", "not-in", "array_contains_any")), several),
    st.builds(Filter, st.just(NAME), st.sampled_from(("<", "<=", "==", "!=", ">=", ">")), references),
    st.builds(Filter, st.just(NAME), st.sampled_from(("in", "not-in")), st.lists(references, min_size=1, max_size=3)),
)
conditions: st.SearchStrategy[Condition] = st.recursive(
    tests,
    lambda inner: st.builds(
        Composite, st.sampled_from(("and", "or")), st.lists(inner, min_size=1, max_size=3).map(tuple)
    ),
    max_leaves=4,
)
directions = st.sampled_from((Query.ASCENDING, Query.DESCENDING))
orders = st.lists(
    st.builds(Order, st.one_of(fields, fields, fields, st.just(NAME)), directions),
    max_size=3,
    unique_by=lambda order: order.field,
).map(tuple)
kinds = st.one_of(
    st.just(()),
    st.sampled_from((("start_at",), ("start_after",), ("end_at",), ("end_before",))),
    st.sampled_from((("start_at", "end_at"), ("start_after", "end_before"), ("start_at", "end_before"))),
)
documents = st.sampled_from(("a/x", "a/y", "a/xy", "a/é", "a/10"))


@st.composite
def _cursors(draw: st.DrawFn, ordered_by: tuple[Order, ...]) -> tuple[Cursor, ...]:
    cursors = []
    for kind in draw(kinds):
        if not ordered_by or draw(st.booleans()):
            cursors.append(Cursor(kind, draw(documents)))
        else:
            length = draw(st.integers(1, len(ordered_by)))
            prefix = ordered_by[:length]
            cursors.append(Cursor(kind, tuple(draw(references if o.field == NAME else common_or_any) for o in prefix)))
    return tuple(cursors)


@st.composite
def finds(draw: st.DrawFn) -> Find:
    """Generate queries."""
    ordered_by = draw(orders)
    limit = draw(st.one_of(st.none(), st.integers(1, 4)))
    return Find(
        collection=draw(st.sampled_from(("a", "a", "a", "b", "a/x/a"))),
        group=False,
        where=draw(st.one_of(st.none(), conditions)),
        orders=ordered_by,
        cursors=draw(_cursors(ordered_by)),
        offset=draw(st.one_of(st.none(), st.none(), st.integers(0, 3))),
        limit=limit,
        is_limit_to_last=bool(limit and ordered_by) and draw(st.booleans()),
        projection=draw(st.one_of(st.none(), st.none(), st.lists(fields, max_size=2, unique=True).map(tuple))),
    )


@st.composite
def group_finds(draw: st.DrawFn) -> Find:
    """Generate queries of a collection group."""
    return Find(
        collection=draw(st.sampled_from(("a", "b"))),
        group=True,
        where=draw(st.one_of(st.none(), conditions)),
        orders=draw(orders),
        cursors=(),
        offset=None,
        limit=draw(st.one_of(st.none(), st.integers(1, 4))),
        is_limit_to_last=False,
        projection=None,
    )


figures = st.lists(
    st.tuples(st.sampled_from(("count", "sum", "avg")), fields), min_size=1, max_size=3, unique=True
).map(tuple)
aggregations = st.builds(
    Aggregate, finds().filter(lambda query: not query.is_limit_to_last and query.projection is None), figures
)
