"""A result as clients see it: the statistics of one sample."""

from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Self

import strawberry

from graphql_api.schema.context import Info
from graphql_api.schema.types.scalars import Vector
from storage.documents import Histogram as StoredHistogram
from storage.documents import Result as StoredResult
from storage.documents import Statistics

if TYPE_CHECKING:
    from graphql_api.schema.types.sample import Sample

_QUANTILE = "by linear interpolation between the two nearest values (Hyndman & Fan 1996, type 7)."


@strawberry.type(description="How many values lie between one edge and the next, from the smallest to the largest.")
class Histogram:
    """Edges and counts; there is one edge more."""

    edges: Vector = strawberry.field(description="Where bins begin and end, ascending: one more than there are counts.")
    counts: Vector = strawberry.field(
        description="How many values each bin holds: from its lower edge up to the next, the last one's included."
    )

    @classmethod
    def of(cls, histogram: StoredHistogram) -> Self:
        """Show a histogram."""
        return cls(edges=Vector(list(histogram.edges)), counts=Vector(list(histogram.counts)))


@strawberry.type(description="What was computed from a sample. Its id is the sample's.")
class Result:
    """A computed result; failed ones are shown as problems of their sample."""

    id: strawberry.ID = strawberry.field(description="The id of the sample that it was computed from.")
    timestamp: datetime = strawberry.field(description="The time stamp of the sample, in UTC.")
    count: int = strawberry.field(description="How many values the sample has.")
    sum: float | None = strawberry.field(
        description="The sum of the values, correctly rounded; null where no finite double is near to it."
    )
    mean: float = strawberry.field(description="The arithmetic mean of the values, correctly rounded.")
    standard_deviation: float = strawberry.field(
        description="The population standard deviation: the root of the mean squared distance from the mean."
    )
    sample_standard_deviation: float | None = strawberry.field(
        description=(
            "The sample standard deviation: as the population's, but the sum of squares is divided by "
            "`count` - 1 (Bessel's correction); null where there is one value."
        )
    )
    minimum: float = strawberry.field(description="The smallest value.")
    percentile_1: float | None = strawberry.field(name="percentile1", description=f"The quantile at 1 %, {_QUANTILE}")
    percentile_5: float | None = strawberry.field(name="percentile5", description=f"The quantile at 5 %, {_QUANTILE}")
    lower_quartile: float | None = strawberry.field(description=f"The quantile at 25 %, {_QUANTILE}")
    median: float | None = strawberry.field(
        description="The value in the middle, or the mean of the two in the middle: the quantile at 50 %."
    )
    upper_quartile: float | None = strawberry.field(description=f"The quantile at 75 %, {_QUANTILE}")
    percentile_95: float | None = strawberry.field(
        name="percentile95", description=f"The quantile at 95 %, {_QUANTILE}"
    )
    percentile_99: float | None = strawberry.field(
        name="percentile99", description=f"The quantile at 99 %, {_QUANTILE}"
    )
    maximum: float = strawberry.field(description="The largest value.")
    skewness: float | None = strawberry.field(
        description=(
            "The Fisher-Pearson skewness g1 = m3 / m2^1.5, of the central moments without correction for bias (Joanes "
            "& Gill 1998); null where all values are equal."
        )
    )
    kurtosis: float | None = strawberry.field(
        description=(
            "The excess kurtosis g2 = m4 / m2^2 - 3, of the central moments without correction for bias (Joanes & Gill "
            "1998), 0 for a normal distribution; null where all values are equal."
        )
    )
    histogram: Histogram | None = strawberry.field(description="How the values are distributed.")
    computed_at: datetime = strawberry.field(description="When Firestore took the result.")
    statistics_version: int = strawberry.field(
        description="Goes up when a statistic is added or its definition changes."
    )

    @classmethod
    def of(cls, result: StoredResult) -> Self:
        """Show a computed result."""
        statistics = result.statistics
        assert statistics is not None
        assert result.timestamp is not None
        assert result.computed_at is not None
        histogram = statistics.histogram
        return cls(
            id=strawberry.ID(result.sample_id),
            timestamp=result.timestamp,
            histogram=None if histogram is None else Histogram.of(histogram),
            computed_at=result.computed_at,
            statistics_version=result.statistics_version,
            **{name: getattr(statistics, name) for name in _FIGURES},
        )

    @strawberry.field(description="The sample that it was computed from.")
    async def sample(self, info: Info) -> Annotated["Sample", strawberry.lazy("graphql_api.schema.types.sample")]:
        """Load the sample's header."""
        from graphql_api.schema.types.sample import Sample

        header = await info.context.headers.load(self.id)
        if header is None:
            raise LookupError(f"the result {self.id} has no sample")
        return Sample.of(header)


_FIGURES = tuple(field.name for field in fields(Statistics) if field.name != "histogram")
