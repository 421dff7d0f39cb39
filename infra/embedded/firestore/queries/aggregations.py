"""count, sum and avg over what a query finds, in one pass and constant memory.

An aggregation over a field looks only at documents that have it, in the order of the field unless the
query says otherwise: with a limit, that decides which documents count. Sums stay integers while nothing
but integers was added and the total fits; anything that is no number is passed over.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from infra.embedded.firestore.encoding import field_paths
from infra.embedded.firestore.encoding.field_paths import FieldPath
from infra.embedded.firestore.errors import invalid_argument
from infra.embedded.firestore.messages import Value

MAX_AGGREGATIONS = 5
_LEAST, _GREATEST = -(1 << 63), (1 << 63) - 1


@dataclass(slots=True)
class Aggregation:
    """One figure, growing document by document."""

    alias: str
    operator: str
    field: FieldPath | None
    up_to: int | None
    count: int = 0
    integers: int = 0
    doubles: float = 0.0
    exact: bool = True

    def add(self, document: Any) -> None:
        """Take one more document into account."""
        if self.field is None:
            self.add_documents(1)
            return
        value = field_paths.get(document.fields, self.field)
        kind = None if value is None else value.WhichOneof("value_type")
        if value is None or kind not in ("integer_value", "double_value"):
            return
        self.count += 1
        if kind == "integer_value":
            self.integers += value.integer_value
        else:
            self.exact = False
            self.doubles += value.double_value

    def add_documents(self, number: int) -> None:
        """Count more documents."""
        self.count += number
        if self.up_to is not None:
            self.count = min(self.count, self.up_to)

    def result(self) -> Any:
        """Return the figure."""
        return _results[self.operator](self)


def _sum(aggregation: Aggregation) -> Any:
    if aggregation.exact and _LEAST <= aggregation.integers <= _GREATEST:
        return Value(integer_value=aggregation.integers)
    return Value(double_value=_total(aggregation))


def _average(aggregation: Aggregation) -> Any:
    if not aggregation.count:
        return Value(null_value=0)
    return Value(double_value=_total(aggregation) / aggregation.count)


def _total(aggregation: Aggregation) -> float:
    return math.fsum((float(aggregation.integers), aggregation.doubles))


_results: dict[str, Callable[[Aggregation], Any]] = {
    "count": lambda aggregation: Value(integer_value=aggregation.count),
    "sum": _sum,
    "avg": _average,
}


def read(message: Any) -> list[Aggregation]:
    """Return the aggregations of a StructuredAggregationQuery, or refuse them."""
    if not message.aggregations:
        raise invalid_argument("Aggregations can not be empty")
    if len(message.aggregations) > MAX_AGGREGATIONS:
        raise invalid_argument(
            f"The maximum number of aggregations allowed in an aggregation query is {MAX_AGGREGATIONS}."
        )
    found = []
    unnamed = 0
    for aggregation in message.aggregations:
        operator = aggregation.WhichOneof("operator")
        if operator is None:
            raise invalid_argument("An aggregation must have an operator.")
        alias = aggregation.alias
        if not alias:
            unnamed += 1
            alias = f"field_{unnamed}"
        up_to = None
        field = None
        if operator == "count":
            if aggregation.count.HasField("up_to"):
                up_to = aggregation.count.up_to.value
                if up_to <= 0:
                    raise invalid_argument("Aggregation up_to must be greater than zero.")
        else:
            field = field_paths.parse(getattr(aggregation, operator).field.field_path)
        found.append(Aggregation(alias, operator, field, up_to))
    if len({aggregation.alias for aggregation in found}) < len(found):
        raise invalid_argument("Aggregation aliases contain duplicate alias")
    return found


def ordering(aggregations: list[Aggregation]) -> list[FieldPath]:
    """Return the fields that a document must have to be looked at."""
    return sorted({aggregation.field for aggregation in aggregations if aggregation.field is not None})
