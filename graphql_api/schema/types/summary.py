"""Summaries of results as clients see them."""

from datetime import datetime
from typing import Self

import strawberry

from graphql_api.results.merged_statistics import MergedStatistics
from graphql_api.results.summaries import TimeBucket
from graphql_api.schema.types.enums import describe_enum

_BUCKETS = {
    TimeBucket.MINUTE: "One minute.",
    TimeBucket.FIVE_MINUTES: "Five minutes, from :00, :05, :10 and so on.",
    TimeBucket.HOUR: "One hour.",
    TimeBucket.DAY: "One day, from midnight to midnight in UTC.",
}

describe_enum(TimeBucket, "The length of a time bucket. Buckets start at multiples of their length, in UTC.", _BUCKETS)


@strawberry.type(description="The statistics of all values of many results together.")
class ResultsSummary:
    """Merged statistics as clients see them."""

    results: int = strawberry.field(description="The number of results.")
    values: float = strawberry.field(
        description="The number of values in all results: a whole number that can be too large for an Int."
    )
    mean: float | None = strawberry.field(description="The arithmetic mean of all values. Null without values.")
    standard_deviation: float | None = strawberry.field(
        description=(
            "The population standard deviation of all values about their common mean. Null without values. "
            "It is merged from the rounded mean and standard deviation of each result, so its error is up to half a "
            "unit in the last place of the largest mean."
        )
    )
    minimum: float | None = strawberry.field(description="The smallest value. Null without values.")
    maximum: float | None = strawberry.field(description="The largest value. Null without values.")

    @classmethod
    def of(cls, merged: MergedStatistics, **fields: datetime) -> Self:
        """Return the GraphQL object of `merged`; `fields` are those that a subclass adds."""
        empty = not merged.count
        return cls(
            results=merged.results,
            values=float(merged.count),
            mean=None if empty else merged.mean(),
            standard_deviation=None if empty else merged.standard_deviation(),
            minimum=None if empty else merged.minimum,
            maximum=None if empty else merged.maximum,
            **fields,
        )


@strawberry.type(description="The statistics of all values of the results whose time stamps are in one time bucket.")
class ResultsBucket(ResultsSummary):
    """A summary with the start of its bucket."""

    start: datetime = strawberry.field(description="The start of the bucket. It ends before the next bucket starts.")
