"""The aggregations count, sum and avg, computed over the results of a query in one pass and constant memory.

An aggregation over a field includes only documents that have the field. If the query has no order, documents are sorted
by this field, which is important for a query with a limit. Values that are not numbers are ignored. A sum is an integer
if all values are integers and the sum fits in 64 bits. Otherwise the sum is a double.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from infra.embedded.firestore.encoding import field_paths, limits
from infra.embedded.firestore.encoding.field_paths import DOCUMENT_ID, FieldPath
from infra.embedded.firestore.errors import invalid_argument
from infra.embedded.firestore.messages import Value

MAX_AGGREGATIONS = 5
_MIN_INTEGER, _MAX_INTEGER = -(1 << 63), (1 << 63) - 1


@dataclass(slots=True)
class Aggregation:
    """One aggregation and its running totals."""

    alias: str
    operator: str
    field: FieldPath | None
    """The field to aggregate; None for a count."""
    up_to: int | None
    count: int = 0
    integers: int = 0
    doubles: float = 0.0
    compensation: float = 0.0
    only_integers: bool = True

    def add(self, document: Any) -> None:
        """Add one document."""
        if self.field is None:
            self.add_documents(1)
            return
        value = field_paths.get(document.fields, self.field)
        value_type = None if value is None else value.WhichOneof("value_type")
        if value is None or value_type not in ("integer_value", "double_value"):
            return
        self.count += 1
        if value_type == "integer_value":
            self.integers += value.integer_value
        else:
            self.only_integers = False
            self._add_double(value.double_value)

    def _add_double(self, number: float) -> None:
        """Add a double, and what its addition rounds off to `compensation` (Neumaier's algorithm)."""
        total = self.doubles + number
        if math.isfinite(total):
            larger, smaller = (self.doubles, number) if abs(self.doubles) >= abs(number) else (number, self.doubles)
            self.compensation += larger - total + smaller
        self.doubles = total

    def add_documents(self, number: int) -> None:
        """Add a number of documents to a count."""
        self.count += number
        if self.up_to is not None:
            self.count = min(self.count, self.up_to)

    def result(self) -> Any:
        """Return the result as a Value message."""
        return _results[self.operator](self)


def _sum(aggregation: Aggregation) -> Any:
    if aggregation.only_integers and _MIN_INTEGER <= aggregation.integers <= _MAX_INTEGER:
        return Value(integer_value=aggregation.integers)
    return Value(double_value=_total(aggregation))


def _average(aggregation: Aggregation) -> Any:
    if not aggregation.count:
        return Value(null_value=0)
    return Value(double_value=_total(aggregation) / aggregation.count)


def _total(aggregation: Aggregation) -> float:
    return float(aggregation.integers) + (aggregation.doubles + aggregation.compensation)


_results: dict[str, Callable[[Aggregation], Any]] = {
    "count": lambda aggregation: Value(integer_value=aggregation.count),
    "sum": _sum,
    "avg": _average,
}


def read(message: Any) -> list[Aggregation]:
    """Return the aggregations of a StructuredAggregationQuery message, or raise `StatusError`."""
    if not message.aggregations:
        raise invalid_argument("Aggregations can not be empty")
    if len(message.aggregations) > MAX_AGGREGATIONS:
        raise invalid_argument(
            f"The maximum number of aggregations allowed in an aggregation query is {MAX_AGGREGATIONS}."
        )
    aggregations = []
    unnamed = 0
    for each in message.aggregations:
        alias = each.alias
        if alias:
            limits.check_field_name(alias)
        else:
            unnamed += 1
            alias = f"field_{unnamed}"
        aggregations.append(_read_one(each, alias))
    if len({aggregation.alias for aggregation in aggregations}) < len(aggregations):
        raise invalid_argument("Aggregation aliases contain duplicate alias")
    return aggregations


def _read_one(message: Any, alias: str) -> Aggregation:
    operator = message.WhichOneof("operator")
    if operator is None:
        raise invalid_argument("An aggregation must have an operator.")
    if operator != "count":
        field = field_paths.parse(getattr(message, operator).field.field_path)
        if field == DOCUMENT_ID:
            raise invalid_argument("Aggregations are not supported for the property: __key__")
        return Aggregation(alias, operator, field, up_to=None)
    up_to = message.count.up_to.value if message.count.HasField("up_to") else None
    if up_to is not None and up_to <= 0:
        raise invalid_argument("Aggregation up_to must be greater than zero.")
    return Aggregation(alias, operator, field=None, up_to=up_to)


def required_fields(aggregations: list[Aggregation]) -> list[FieldPath]:
    """Return the fields of the aggregations, sorted. A query includes only documents that have all of them."""
    return sorted({aggregation.field for aggregation in aggregations if aggregation.field is not None})
