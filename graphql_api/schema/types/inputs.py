"""GraphQL inputs for filters and orders, and their conversion to bounds and orders of stored fields."""

import json
from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime
from enum import Enum
from math import isfinite
from typing import Any, TypeVar

import strawberry
from strawberry.utils.str_converters import to_camel_case

from graphql_api.results.filters import EVERYTHING, OPERATORS, ORDER_FIELDS, Bound, Direction, Order, Selection
from graphql_api.schema.types.enums import describe_enum
from graphql_api.schema.types.problem import SampleState
from graphql_api.schema.types.result import graphql_name
from storage.documents import STATISTICS, BadRequest, Labels, Statistic, labels, timestamps
from storage.documents.problems import echo

T = TypeVar("T")

_INDEXED = [statistic for statistic in STATISTICS.values() if statistic.is_indexed]
_DIRECTIONS = {
    Direction.ASC: "The smallest or earliest value comes first.",
    Direction.DESC: "The largest or latest value comes first.",
}

describe_enum(Direction, "The sort direction.", _DIRECTIONS)


@strawberry.input(description="A range of numbers. If a bound is missing, the range is unlimited on that side.")
class FloatRange:
    """Bounds of a double."""

    gte: float | None = strawberry.field(default=None, description="The lower bound, included in the range.")
    gt: float | None = strawberry.field(default=None, description="The lower bound, excluded from the range.")
    lte: float | None = strawberry.field(default=None, description="The upper bound, included in the range.")
    lt: float | None = strawberry.field(default=None, description="The upper bound, excluded from the range.")


@strawberry.input(description="A range of integers. If a bound is missing, the range is unlimited on that side.")
class IntRange:
    """Bounds of an integer."""

    gte: int | None = strawberry.field(default=None, description="The lower bound, included in the range.")
    gt: int | None = strawberry.field(default=None, description="The lower bound, excluded from the range.")
    lte: int | None = strawberry.field(default=None, description="The upper bound, included in the range.")
    lt: int | None = strawberry.field(default=None, description="The upper bound, excluded from the range.")


@strawberry.input(description="A range of times. If a bound is missing, the range is unlimited on that side.")
class DateTimeRange:
    """Bounds of a time."""

    gte: datetime | None = strawberry.field(default=None, description="The start of the range, included.")
    gt: datetime | None = strawberry.field(default=None, description="The start of the range, excluded.")
    lte: datetime | None = strawberry.field(default=None, description="The end of the range, included.")
    lt: datetime | None = strawberry.field(default=None, description="The end of the range, excluded.")


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
        f"{statistic.description} This range excludes results without this statistic. If the order is neither "
        f"TIMESTAMP nor {statistic.name.upper()}, or if the filter has labels, the server applies this range after it "
        "has read a page. The page can then have fewer results than requested, even if a next page exists."
    )


@strawberry.input(description="Selects the samples or results that have this label.")
class LabelFilter:
    """The name and the value of a label."""

    name: str = strawberry.field(description="The name of the label.")
    value: str = strawberry.field(description="The exact value of the label.")


_LABELS = (
    f"Up to {labels.MAX_LABELS} labels. A result must have all of them. With this field, results can be ordered only "
    "by TIMESTAMP."
)


@strawberry.input(description="Selects the results that are within all given ranges and have all given labels.")
@_with_statistics
class ResultFilter:
    """Labels, and ranges of the time stamp and of the indexed statistics."""

    timestamp: DateTimeRange | None = strawberry.field(default=None, description="The time stamp of the sample in UTC.")
    labels: list[LabelFilter] | None = strawberry.field(default=None, description=_LABELS)

    def selection(self) -> Selection:
        """Return the ranges as bounds of stored fields, and the labels."""
        ranges = (field.name for field in fields(self) if field.name != "labels")
        return Selection(
            [bound for name in ranges for bound in _bounds(name, getattr(self, name))], _labels(self.labels)
        )


@strawberry.input(description="Selects the samples that match all given fields.")
class SampleFilter:
    """A state, a range of submission times, and labels."""

    state: SampleState | None = strawberry.field(default=None, description="The state of the sample.")
    submitted_at: DateTimeRange | None = strawberry.field(
        default=None, description="The time when the sample was stored."
    )
    labels: list[LabelFilter] | None = strawberry.field(
        default=None, description=f"Up to {labels.MAX_LABELS} labels. A sample must have all of them."
    )

    def selection(self) -> Selection:
        """Return the range as bounds of a stored field, and the labels."""
        return Selection(list(_bounds("submitted_at", self.submitted_at)), _labels(self.labels))


_ORDER_DESCRIPTIONS = {
    "timestamp": "The time stamp of the sample.",
    "computed_at": "The time when the result was stored.",
    **{
        statistic.name: statistic.description
        + (" This order excludes results without this statistic." if statistic.is_nullable else "")
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
    description="The order of results. Results with the same value in `field` have a stable, unspecified order."
)
class ResultOrder:
    """A field and a direction."""

    field: ResultOrderField = strawberry.field(description="The field to order by.")
    direction: Direction = strawberry.field(default=Direction.ASC, description="Ascending or descending order.")

    def order(self) -> Order:
        """Return the order of stored fields."""
        return Order(str(self.field.value), descending=self.direction is Direction.DESC)


def selection_of(given: ResultFilter | SampleFilter | None) -> Selection:
    """Return the selection of a filter. Without a filter, everything is selected."""
    return EVERYTHING if given is None else given.selection()


def filter_text(selection: Selection, state: SampleState | None = None) -> str:
    """Return what a filter selects as JSON, for people and programs: `{"labels": {"site": "bern"}}`."""
    names = {operator: name for name, operator in OPERATORS.items()}
    found: dict[str, Any] = {} if state is None else {"state": state.value}
    for bound in selection.bounds:
        value = timestamps.to_text(bound.value) if isinstance(bound.value, datetime) else bound.value
        found.setdefault(to_camel_case(bound.field), {})[names[bound.operator]] = value
    if selection.labels:
        found["labels"] = dict(selection.labels)
    return json.dumps(found, ensure_ascii=False)


def _labels(given: list[LabelFilter] | None) -> Labels:
    found: dict[str, str] = {}
    for label in given or ():
        if found.setdefault(label.name, label.value) != label.value:
            raise BadRequest(f"the label {echo(label.name)} appears twice; use each label once - at `filter.labels`")
    for problem in labels.problems(found, "filter.labels"):
        raise BadRequest(f"{problem.message} - at `{problem.path}`")
    return found


def _bounds(field: str, limits: FloatRange | IntRange | DateTimeRange | None) -> Iterator[Bound]:
    for name, operator in OPERATORS.items():
        value = None if limits is None else getattr(limits, name)
        if isinstance(value, float) and not isfinite(value):  # a literal in the query can exceed the largest double
            raise BadRequest(f"expected a finite number - at `{to_camel_case(field)}.{name}`")
        if value is not None:
            yield Bound(field, operator, value)
