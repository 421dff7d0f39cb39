"""The statistics of a sample, and the filters and orders of results.

No other module of the client lists statistics. To add a statistic, add a field to `Statistics`. If the API filters and
orders by the statistic, also add it to `ResultFilter` and `OrderField`. GraphQL documents, CSV columns and
`dropzone show` are derived from these classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from dataclasses import field as dataclass_field
from datetime import datetime
from enum import StrEnum
from math import isfinite
from typing import Any, Self

from dropzone.encoding import NUMPY_HINT, as_labels, camel_case, choice, format_time, is_numpy_time, parse_time, text
from dropzone.errors import BadUserInput

TABLE_COLUMNS = {
    "count": "count",
    "mean": "mean",
    "standard_deviation": "std. deviation",
    "minimum": "minimum",
    "maximum": "maximum",
}
"""The statistics in the table of `dropzone results`, with their headings."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """The distribution of values: `counts[i]` values are between `edges[i]` and `edges[i + 1]`."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """The statistics of one sample. `standard_deviation` is the population standard deviation.

    A statistic is None if it is undefined for the sample, or if the result was computed before the statistic existed.
    """

    count: int
    sum: float | None = None
    mean: float
    standard_deviation: float
    sample_standard_deviation: float | None = None
    minimum: float
    percentile_1: float | None = None
    percentile_5: float | None = None
    lower_quartile: float | None = None
    median: float | None = None
    upper_quartile: float | None = None
    percentile_95: float | None = None
    percentile_99: float | None = None
    maximum: float
    skewness: float | None = None
    kurtosis: float | None = None
    histogram: Histogram | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultOverview:
    """The part of a result that `wait` returns with the final state of a sample."""

    timestamp: datetime
    count: int
    mean: float
    standard_deviation: float

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return the overview for its GraphQL object."""
        read: dict[str, Any] = {field.name: values[camel_case(field.name)] for field in fields(ResultOverview)}
        return cls(**read | {"timestamp": parse_time(read["timestamp"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The statistics of all values of many results. Without results, the statistics are None and the counts are 0.

    Percentiles, quartiles and the median are estimates. They are interpolated between two values, and `quantile_error`
    is the largest relative error of these values. They are None if `results_without_sketch` is not 0.
    `archived_results` is the number of results that are in the hourly archive, because they have expired. It is None if
    the archive does not support the query.
    """

    results: int
    archived_results: int | None
    values: int
    mean: float | None
    standard_deviation: float | None
    minimum: float | None
    maximum: float | None
    percentile_1: float | None
    percentile_5: float | None
    lower_quartile: float | None
    median: float | None
    upper_quartile: float | None
    percentile_95: float | None
    percentile_99: float | None
    quantile_error: float | None
    results_without_sketch: int

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return the summary for its GraphQL object."""
        read: dict[str, Any] = {field.name: values[camel_case(field.name)] for field in fields(Summary)}
        return cls(**read | {"results": int(read["results"]), "values": int(read["values"])})


Bound = float | datetime
_MAX_EXACT_INTEGER = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A range of values: `gte` at least, `gt` more than, `lte` at most, `lt` less than.

    If a bound is missing, the range is unlimited on that side.
    """

    gte: Bound | None = None
    gt: Bound | None = None
    lte: Bound | None = None
    lt: Bound | None = None

    def variables(self) -> dict[str, float | str]:
        """Return the range as a GraphQL variable. Raises `BadUserInput` if a bound is not a finite number or a time."""
        bounds: dict[str, Bound | None] = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: _variable(bound) for name, bound in bounds.items() if bound is not None}


def _variable(bound: Bound) -> float | str:
    """Return a time as text, and a number of any type, such as one of numpy, as `int` or `float`.

    GraphQL accepts 2 but not 2.0 for a range of integers, and no integer that a double cannot hold.
    """
    if is_numpy_time(bound):
        raise BadUserInput(f"expected a number or a datetime as the bound of a range, got {bound!r}; {NUMPY_HINT}")
    if isinstance(bound, datetime):
        if bound.tzinfo is None:
            raise BadUserInput(f"expected a datetime with a time zone, got {bound}")
        try:
            return format_time(bound)
        except OverflowError as error:
            raise BadUserInput(f"expected a time between the years 1 and 9999 in UTC, got {bound}") from error
    try:
        number = float(bound)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadUserInput(f"expected a number or a datetime as the bound of a range, got {bound!r}") from error
    if not isfinite(number):
        raise BadUserInput(
            f"expected a finite number as the bound of a range, got {number}; leave out the bound instead"
        )
    return int(number) if number.is_integer() and abs(number) <= _MAX_EXACT_INTEGER else number


def check_range(name: str, bounds: object) -> None:
    """Raise `BadUserInput` if the field `name` of a filter is neither None nor a range."""
    if bounds is not None and not isinstance(bounds, Range):
        raise BadUserInput(f"expected a Range such as Range(gte=1) for {name}, got {bounds!r}")


def label_variables(labels: Mapping[str, str]) -> dict[str, Any]:
    """Return the member `labels` of a filter as a GraphQL variable, or nothing without labels."""
    named = [{"name": name, "value": text(value, f"the label {name}")} for name, value in as_labels(labels).items()]
    return {"labels": named} if named else {}


def parse_labels(values: list[dict[str, str]]) -> dict[str, str]:
    """Return the labels for a list of GraphQL objects."""
    return {label["name"]: label["value"] for label in values}


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFilter:
    """Selects the results that are within all ranges of this filter and have all of its labels."""

    timestamp: Range | None = None
    count: Range | None = None
    mean: Range | None = None
    standard_deviation: Range | None = None
    minimum: Range | None = None
    maximum: Range | None = None
    median: Range | None = None
    labels: Mapping[str, str] = dataclass_field(default_factory=dict)

    def variables(self) -> dict[str, Any]:
        """Return the filter as a GraphQL variable. Raises `BadUserInput` for a field with a value of another type."""
        variables: dict[str, Any] = {camel_case(name): bounds for name, bounds in self.ranges().items()}
        return variables | label_variables(self.labels)

    def ranges(self) -> dict[str, dict[str, float | str]]:
        """Return the bounds of each range by the name of its field."""
        ranges = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "labels"}
        for name, bounds in ranges.items():
            check_range(name, bounds)
        return {name: bounds.variables() for name, bounds in ranges.items() if bounds is not None}


class OrderField(StrEnum):
    """A field by which results can be ordered."""

    TIMESTAMP = "timestamp"
    COUNT = "count"
    MEAN = "mean"
    STANDARD_DEVIATION = "standard_deviation"
    MINIMUM = "minimum"
    MAXIMUM = "maximum"
    MEDIAN = "median"
    COMPUTED_AT = "computed_at"


@dataclass(frozen=True, slots=True)
class ResultOrder:
    """Ascending order by a field, or descending order if `descending` is true."""

    field: OrderField
    descending: bool = False

    def variables(self) -> dict[str, str]:
        """Return the order as a GraphQL variable."""
        return {"field": choice(OrderField, self.field).name, "direction": "DESC" if self.descending else "ASC"}
