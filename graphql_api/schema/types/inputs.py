"""What to look for: ranges, states and orders, as GraphQL inputs, and what they mean in Firestore."""

from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime
from math import isfinite

import strawberry
from strawberry.utils.str_converters import to_camel_case

from graphql_api.results.filters import OPERATORS, Bound, Direction, Order, OrderField
from graphql_api.schema.types.enums import describe_enum
from graphql_api.schema.types.problem import SampleState
from storage.documents import BadRequest

_ORDER_FIELDS = {
    OrderField.TIMESTAMP: "The time stamp of the sample.",
    OrderField.COUNT: "The number of values.",
    OrderField.MEAN: "The mean.",
    OrderField.STANDARD_DEVIATION: "The population standard deviation.",
    OrderField.MINIMUM: "The smallest value.",
    OrderField.MAXIMUM: "The largest value.",
    OrderField.MEDIAN: "The median; leaves out results of version 1.",
    OrderField.COMPUTED_AT: "When the result was stored.",
}
_DIRECTIONS = {Direction.ASC: "The smallest or earliest first.", Direction.DESC: "The largest or latest first."}

describe_enum(OrderField, "What results can be ordered by.", _ORDER_FIELDS, name="ResultOrderField")
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


@strawberry.input(description="Which results; all the ranges that are given must hold.")
class ResultFilter:
    """Ranges on what was computed."""

    timestamp: DateTimeRange | None = strawberry.field(default=None, description="The time stamp in UTC.")
    count: IntRange | None = strawberry.field(default=None, description="The number of values.")
    mean: FloatRange | None = strawberry.field(default=None, description="The mean.")
    standard_deviation: FloatRange | None = strawberry.field(
        default=None, description="The population standard deviation."
    )
    minimum: FloatRange | None = strawberry.field(default=None, description="The smallest value.")
    maximum: FloatRange | None = strawberry.field(default=None, description="The largest value.")
    median: FloatRange | None = strawberry.field(
        default=None,
        description=(
            "The median; leaves out results of version 1, which have none. In an order other than by MEDIAN, results "
            "are looked at one by one: a page can have fewer than were asked for and still have a next one."
        ),
    )

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


@strawberry.input(description="The order of results; between equal ones their other numbers decide, then their ids.")
class ResultOrder:
    """A field and a direction."""

    field: OrderField = strawberry.field(description="What to order by.")
    direction: Direction = strawberry.field(default=Direction.ASC, description="Which end comes first.")

    def order(self) -> Order:
        """Return the order as one of a stored field."""
        return Order(self.field.value, descending=self.direction is Direction.DESC)


def _bounds(field: str, limits: FloatRange | IntRange | DateTimeRange | None) -> Iterator[Bound]:
    for name, operator in OPERATORS.items():
        value = None if limits is None else getattr(limits, name)
        if isinstance(value, float) and not isfinite(value):  # so many digits, written into the query
            raise BadRequest(f"expected a finite number - at `{to_camel_case(field)}.{name}`")
        if value is not None:
            yield Bound(field, operator, value)
