"""Queries whose results are also computed in plain Python, and the documents that they search."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.cloud.firestore import And, Client, FieldFilter, Or

Condition = tuple[str, str, Any]
"""A field, an operator and a value."""


@dataclass(frozen=True)
class Either:
    """A filter that matches documents that meet at least one of the conditions."""

    conditions: tuple[Condition, ...]


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda value, operand: value == operand,
    "!=": lambda value, operand: value != operand,
    ">": lambda value, operand: value > operand,
    "<": lambda value, operand: value < operand,
    "in": lambda value, operand: value in operand,
    "not-in": lambda value, operand: value not in operand,
    "array_contains": lambda value, operand: operand in value,
    "array_contains_any": lambda value, operand: not set(operand).isdisjoint(value),
}
_INEQUALITIES = ("!=", ">", "<", "not-in")


def _matches(fields: Mapping[str, Any], test: Condition | Either) -> bool:
    if isinstance(test, Either):
        return any(_matches(fields, condition) for condition in test.conditions)
    field, operator, operand = test
    return field in fields and _OPERATORS[operator](fields[field], operand)


def _filter(test: Condition | Either) -> Any:
    return Or(list(map(_filter, test.conditions))) if isinstance(test, Either) else FieldFilter(*test)


@dataclass(frozen=True)
class Find:
    """A query. `orders` are written as index fields are, separated by spaces."""

    collection: str
    filters: tuple[Condition | Either, ...]
    orders: str
    group: bool

    def build(self, client: Client) -> Any:
        """Return the query of Google's client."""
        query: Any = client.collection_group(self.collection) if self.group else client.collection(self.collection)
        if self.filters:
            query = query.where(filter=And(list(map(_filter, self.filters))))
        for order in self.orders.split():
            query = query.order_by(order[1:], direction="DESCENDING" if order[0] == "-" else "ASCENDING")
        return query

    def run(self, client: Client) -> list[str]:
        """Return the paths of the documents that the server finds."""
        return [found.reference.path for found in self.build(client).get()]

    def expected(self) -> list[str]:
        """Return the paths of the documents that the server must find."""
        return [path for path, _ in self.documents()]

    def documents(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the documents that match, in order."""
        orders = self._complete_orders()
        found = [
            (path, fields)
            for path, fields in DOCUMENTS.items()
            if self._covers(path) and all(_matches(fields, each) for each in self.filters)
            if all(order[1:] == "__name__" or order[1:] in fields for order in orders)
        ]
        for order in reversed(orders):
            found.sort(key=lambda document: _sorted_value(document, order[1:]), reverse=order[0] == "-")
        return found

    def _covers(self, path: str) -> bool:
        *parents, collection, _ = path.split("/")
        return collection == self.collection and (self.group or not parents)

    def _complete_orders(self) -> list[str]:
        """Return the requested orders, then the fields of inequalities by name, then the document name."""
        orders = self.orders.split()
        direction = orders[-1][0] if orders else "+"
        unequal = {field for field, operator, _ in self._conditions() if operator in _INEQUALITIES}
        for field in [*sorted(unequal), "__name__"]:
            if field not in [order[1:] for order in orders]:
                orders.append(direction + field)
        return orders

    def _conditions(self) -> Iterator[Condition]:
        for test in self.filters:
            yield from test.conditions if isinstance(test, Either) else [test]


def _sorted_value(document: tuple[str, Mapping[str, Any]], field: str) -> Any:
    path, fields = document
    return path.split("/") if field == "__name__" else fields[field]


@dataclass(frozen=True)
class Aggregate:
    """The number of results of a query and the sums of fields. Only documents that have all these fields count."""

    query: Find
    fields: tuple[str, ...]

    def build(self, client: Client) -> Any:
        """Return the aggregation query of Google's client."""
        aggregation: Any = self.query.build(client).count("documents")
        for field in self.fields:
            aggregation = aggregation.sum(field, field)
        return aggregation

    def run(self, client: Client) -> dict[str, float]:
        """Return the figures that the server computes."""
        return {figure.alias: figure.value for figure in self.build(client).get()[0]}

    def expected(self) -> dict[str, float]:
        """Return the figures that the server must compute. Values that are not numbers add nothing."""
        counted = [fields for _, fields in self.query.documents() if all(field in fields for field in self.fields)]
        figures: dict[str, float] = {"documents": len(counted)}
        for field in self.fields:
            figures[field] = sum(fields[field] for fields in counted if isinstance(fields[field], int))
        return figures


def either(*conditions: Condition) -> Either:
    """Return a filter that matches documents that meet at least one of the conditions."""
    return Either(conditions)


def find(collection: str, *filters: Condition | Either, by: str = "", group: bool = False) -> Find:
    """Return a query."""
    return Find(collection, filters, by, group)


def add(query: Find, *fields: str) -> Aggregate:
    """Return the number of results of a query and the sums of fields."""
    return Aggregate(query, fields)


def _documents() -> Iterator[tuple[str, dict[str, Any]]]:
    tags: tuple[list[str], ...] = (["x"], ["y"], ["x", "y"], ["z"], [])
    for number in range(30):
        fields: dict[str, Any] = {
            "a": 1 + number % 3,
            "b": number % 4,
            "c": number,
            "d": -number,
            "tags": tags[number % 5],
        }
        for field in ("a", "b", "c", "d")[number - 26 :] if number > 26 else ():
            del fields[field]
        for collection in ("plain", "pairs", "descending", "named", "groups", "exempt", "listed"):
            yield f"{collection}/{number:02}", fields
            if number % 4 == 1:
                yield f"parents/{number % 2}/{collection}/{number:02}", fields
    for number in range(40):
        city, category = "xz"[number % 2], "yzz"[number % 3]
        place: dict[str, Any] = {
            "city": city,
            "category": category,
            "pick": number % 5 == 0,
            "stars": -number,
            "price": number % 4,
        }
        yield f"restaurants/{number:02}", place


DOCUMENTS: Mapping[str, Mapping[str, Any]] = dict(_documents())
