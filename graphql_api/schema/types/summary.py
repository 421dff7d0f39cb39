"""Summaries of results as clients see them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self

import strawberry

from graphql_api.graphql_server.execution.operation_cost import FieldCost
from graphql_api.results.rolled_up_results import Group
from graphql_api.results.summaries import Summary, TimeBucket
from graphql_api.schema.costs import costs
from graphql_api.schema.types.enums import describe_enum
from graphql_api.schema.types.label import Label, graphql_labels
from storage.documents.labels import MAX_LABELS
from storage.documents.quantile_sketch import RELATIVE_ERROR

_BUCKETS = {
    TimeBucket.MINUTE: "One minute.",
    TimeBucket.FIVE_MINUTES: "Five minutes. Buckets start at the minutes 0, 5, 10 and so on of each hour.",
    TimeBucket.HOUR: "One hour.",
    TimeBucket.DAY: (
        "One day, from midnight to midnight in UTC. For the days of another time zone, query `resultsSummary` once for "
        "each day, with the start and the end of the day in `filter.timestamp`."
    ),
}

describe_enum(TimeBucket, "The length of a time bucket. Buckets start at multiples of their length, in UTC.", _BUCKETS)


_QUANTILE = (
    "The {} of all values, estimated from the quantile sketches (DDSketch) of the results. The server interpolates "
    "linearly between two estimated values. The relative error of each estimated value is at most `quantileError`. "
    "Null if no result is selected, or if `resultsWithoutSketch` is not 0."
)


@strawberry.type(description="Combined statistics of the values of some results.")
class _CombinedStatistics:
    """The common fields of all summaries. The schema does not contain this type."""

    results: int = strawberry.field(
        description="The number of selected results, including expired results in the hourly archive."
    )
    archived_results: int | None = strawberry.field(
        description=(
            "The number of selected results in the hourly archive, which keeps the hourly statistics of expired "
            "results. The archive does not contain single results. It therefore supports only filters by time stamp "
            "and labels, and only buckets of an hour or longer. For other filters and buckets, this field is null, "
            "and the summary does not include the archive. An hour of the archive is selected only if the whole hour "
            "is in the selected range."
        )
    )
    values: float = strawberry.field(
        description=(
            "The number of values in all selected results. It is a whole number, but its type is Float, because it "
            "can exceed the range of Int."
        )
    )
    mean: float | None = strawberry.field(
        description=(
            "The mean of all values. Null if no result is selected. The server computes it from the rounded mean of "
            "each result. The error is therefore up to half a unit in the last place of the largest mean."
        )
    )
    standard_deviation: float | None = strawberry.field(
        description=(
            "The population standard deviation of all values. Null if no result is selected. The server computes it "
            "from the rounded mean and the rounded standard deviation of each result. The error is therefore up to "
            "half a unit in the last place of the largest mean."
        )
    )
    minimum: float | None = strawberry.field(description="The smallest value. Null if no result is selected.")
    maximum: float | None = strawberry.field(description="The largest value. Null if no result is selected.")
    percentile_1: float | None = strawberry.field(
        name="percentile1", description=_QUANTILE.format("1st percentile"), default=None
    )
    percentile_5: float | None = strawberry.field(
        name="percentile5", description=_QUANTILE.format("5th percentile"), default=None
    )
    lower_quartile: float | None = strawberry.field(description=_QUANTILE.format("25th percentile"), default=None)
    median: float | None = strawberry.field(description=_QUANTILE.format("50th percentile"), default=None)
    upper_quartile: float | None = strawberry.field(description=_QUANTILE.format("75th percentile"), default=None)
    percentile_95: float | None = strawberry.field(
        name="percentile95", description=_QUANTILE.format("95th percentile"), default=None
    )
    percentile_99: float | None = strawberry.field(
        name="percentile99", description=_QUANTILE.format("99th percentile"), default=None
    )
    quantile_error: float | None = strawberry.field(
        description=(
            "The maximum relative error of the two estimated values between which a percentile is interpolated. "
            f"It is {RELATIVE_ERROR}, or more if the positive and negative values together cover more than 17 powers "
            "of ten. "
            "Null if the percentiles are null."
        ),
        default=None,
    )
    results_without_sketch: int = strawberry.field(
        description=(
            "The number of selected results without a quantile sketch, because their `statisticsVersion` is below 4. "
            "If this number is not 0, the percentiles are null. To add the sketches, recompute these results with "
            "`recompute`."
        ),
        default=0,
    )

    @classmethod
    def of(cls, merged: Summary, **fields: Any) -> Self:
        """Return the GraphQL object of `merged`. `fields` holds the values of the fields that a subclass adds."""
        empty, quantiles = not merged.count, merged.quantiles
        return cls(
            results=merged.results,
            archived_results=merged.archived_results,
            values=float(merged.count),
            mean=None if empty else merged.mean(),
            standard_deviation=None if empty else merged.standard_deviation(),
            minimum=None if empty else merged.minimum,
            maximum=None if empty else merged.maximum,
            quantile_error=None if quantiles is None else quantiles.relative_error,
            results_without_sketch=merged.results_without_sketch,
            **({} if quantiles is None else quantiles.values),
            **fields,
        )


_LABELS = FieldCost(default_size=MAX_LABELS)
_GROUP_LABELS = "The labels that the results of this group have in common. Only labels in `groupBy` are listed."


@strawberry.type(
    description=(
        "Combined statistics of the values of one group of results. The results of a group have equal values of the "
        "labels in `groupBy`."
    )
)
class ResultsGroup(_CombinedStatistics):
    """The summary of one group."""

    labels: list[Label] = strawberry.field(description=_GROUP_LABELS, metadata=costs(_LABELS))


@strawberry.type(description="Combined statistics of the values of all selected results.")
class ResultsSummary(_CombinedStatistics):
    """The summary of all selected results."""

    groups: list[ResultsGroup] = strawberry.field(
        description=(
            "One summary for each group of results, in alphabetical order of their labels. Results without a label "
            "come before results with it. Empty if `groupBy` is not set."
        )
    )


@strawberry.type(
    description=(
        "Combined statistics of the values of all selected results in one time bucket. With `groupBy`, each group has "
        "its own buckets."
    )
)
class ResultsBucket(_CombinedStatistics):
    """The summary of one time bucket, or of one group in one time bucket."""

    start: datetime = strawberry.field(description="The start of the bucket. The argument `bucket` sets its length.")
    labels: list[Label] = strawberry.field(description=_GROUP_LABELS, metadata=costs(_LABELS))


def group_labels(names: Sequence[str], group: Group) -> list[Label]:
    """Return the labels that the results of a group share."""
    pairs = zip(names, group, strict=True)
    return graphql_labels({name: value for name, value in pairs if value is not None})
