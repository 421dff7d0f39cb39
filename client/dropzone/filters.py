"""Which results and samples, and in which order."""

from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from dropzone.model import SampleState, camel_case, moment_text

Bound = float | datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """`gte`: at least; `gt`: more than; `lte`: at most; `lt`: less than. What is left out is open."""

    gte: Bound | None = None
    gt: Bound | None = None
    lte: Bound | None = None
    lt: Bound | None = None

    def variables(self) -> dict[str, Any]:
        """Return the range as a GraphQL variable."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: _plain(bound) for name, bound in given.items() if bound is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFilter:
    """Which results; all the ranges that are given must hold."""

    timestamp: Range | None = None
    count: Range | None = None
    mean: Range | None = None
    standard_deviation: Range | None = None
    minimum: Range | None = None
    maximum: Range | None = None
    median: Range | None = None

    def variables(self) -> dict[str, Any]:
        """Return the filter as a GraphQL variable."""
        given = {camel_case(field.name): getattr(self, field.name) for field in fields(self)}
        return {name: bounds.variables() for name, bounds in given.items() if bounds is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFilter:
    """Which samples; all that is given must hold."""

    state: SampleState | None = None
    submitted_at: Range | None = None

    def variables(self) -> dict[str, Any]:
        """Return the filter as a GraphQL variable."""
        given: dict[str, Any] = {}
        if self.state is not None:
            given["state"] = self.state.value
        if self.submitted_at is not None:
            given["submittedAt"] = self.submitted_at.variables()
        return given


class OrderField(StrEnum):
    """What results can be ordered by."""

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
    """The smallest or earliest first, unless `descending`."""

    field: OrderField
    descending: bool = False

    def variables(self) -> dict[str, Any]:
        """Return the order as a GraphQL variable."""
        return {"field": self.field.name, "direction": "DESC" if self.descending else "ASC"}


def _plain(bound: Bound) -> Any:
    return moment_text(bound) if isinstance(bound, datetime) else bound
