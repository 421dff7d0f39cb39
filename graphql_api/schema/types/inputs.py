"""What to look for: ranges, states and orders, as GraphQL inputs, and what they mean in Firestore."""

from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime
from enum import Enum
from math import isfinite
from typing import Any, TypeVar

import strawberry
from strawberry.utils.str_converters import to_camel_case

from graphql_api.results.filters import OPERATORS, ORDER_FIELDS, Bound, Direction, Order
from graphql_api.schema.types.enums import describe_enum
from graphql_api.schema.types.problem import SampleState
from graphql_api.schema.types.result import graphql_name
from storage.documents import STATISTICS, BadRequest, Statistic

T = TypeVar("T")

_INDEXED = [statistic for statistic in STATISTICS.values() if statistic.is_indexed]
_DIRECTIONS = {Direction.ASC: "The smallest or earliest first.", Direction.DESC: "The largest or latest first."}

describe_enum(Direction, "Which end comes first.", _DIRECTIONS)


@strawberry.input(description="A range of numbers; bounds that are left out are open.")
class FloatRange:
    """Bounds of a double."""

    gte: float | None = strawberry.field(default=None, description="At least.")
    gt: float | None = strawberry.field(default=None, description="More than.")
    lte: float | None = strawberry.field(default=None, description="At most.")
    lt: float | None = strawberry.field(default=None, description="Less than.")


@strawberry.input(description="A range of whole numbers; bounds that are left out are open.")
class IntRange:
    """Bounds of an integer."""

    gte: int | None = strawberry.field(default=None, description="At least.")
    gt: int | None = strawberry.field(default=None, description="More than.")
    lte: int | None = strawberry.field(default=None, description="At most.")
    lt: int | None = strawberry.field(default=None, description="Less than.")


@strawberry.input(description="A range of time; bounds that are left out are open.")
class DateTimeRange:
    """Bounds of a time."""

    gte: datetime | None = strawberry.field(default=None, description="At or after.")
    gt: datetime | None = strawberry.field(default=None, description="After.")
    lte: datetime | None = strawberry.field(default=None, description="At or before.")
    lt: datetime | None = strawberry.field(default=None, description="Before.")


def _with_statistics(cls: type[T]) -> type[T]:
    """Add a range for each statistic that results can be filtered by."""
    for statistic in _INDEXED:
        value_range: Any = IntRange if statistic.value_type is int else FloatRange
        cls.__annotations__[statistic.name] = value_range | None
        field = strawberry.field(default=None, name=graphql_name(statistic), description=_filter_description(statistic))
        setattr(cls, statistic.name, field)
    return cls


def _filter_description(statistic: Statistic) -> str:
    if not statistic.is_nullable:
        return statistic.description
    return (
        f"{statistic.description} Excludes results without this statistic. In any other order than "
        f"{statistic.name.upper()}, results are filtered after they are read: a page can then have fewer results than "
        "requested and still have a next page."
    )


@strawberry.input(description="Selects the results that are within all given ranges.")
@_with_statistics
class ResultFilter:
    """Ranges of the time stamp and of the indexed statistics."""

    timestamp: DateTimeRange | None = strawberry.field(default=None, description="The time stamp of the sample in UTC.")

    def bounds(self) -> list[Bound]:
        """Return the ranges as bounds of stored fields."""
        return [bound for field in fields(self) for bound in _bounds(field.name, getattr(self, field.name))]


@strawberry.input(description="Which samples; all that is given must hold.")
class SampleFilter:
    """A state and a range of time."""

    state: SampleState | None = strawberry.field(default=None, description="The state they are in.")
    submitted_at: DateTimeRange | None = strawberry.field(default=None, description="When they were submitted.")

    def bounds(self) -> list[Bound]:
        """Return the range as bounds of a stored field."""
        return list(_bounds("submitted_at", self.submitted_at))


_ORDER_DESCRIPTIONS = {
    "timestamp": "The time stamp of the sample.",
    "computed_at": "The time when the result was stored.",
    **{
        statistic.name: statistic.description
        + (" Excludes results without this statistic." if statistic.is_nullable else "")
        for statistic in _INDEXED
    },
}
ResultOrderField: Any = Enum("ResultOrderField", [(name.upper(), name) for name in ORDER_FIELDS])  # type: ignore[misc]
describe_enum(
    ResultOrderField,
    "The fields that results can be ordered by.",
    {field: _ORDER_DESCRIPTIONS[field.value] for field in ResultOrderField},
)


@strawberry.input(
    description="The order of results. Results with equal values are ordered by their other indexed fields, then by id."
)
class ResultOrder:
    """A field and a direction."""

    field: ResultOrderField = strawberry.field(description="The field to order by.")
    direction: Direction = strawberry.field(default=Direction.ASC, description="Ascending or descending order.")

    def order(self) -> Order:
        """Return the order of stored fields."""
        return Order(str(self.field.value), descending=self.direction is Direction.DESC)


def _bounds(field: str, limits: FloatRange | IntRange | DateTimeRange | None) -> Iterator[Bound]:
    for name, operator in OPERATORS.items():
        value = None if limits is None else getattr(limits, name)
        if isinstance(value, float) and not isfinite(value):  # so many digits, written into the query
            raise BadRequest(f"expected a finite number - at `{to_camel_case(field)}.{name}`")
        if value is not None:
            yield Bound(field, operator, value)
