"""Samples and results as GraphQL shows them. What costs a read is read only when it is asked for.

The description of a statistic is its definition. What a result of version 1 does not have, or what is not defined
for its values, is null and never a number that looks like one.
"""

from dataclasses import fields
from datetime import datetime
from typing import Annotated, Self

import strawberry
from strawberry import Private

from graphql_api.schema.context import Info
from graphql_api.schema.problem import ProblemType, SampleState
from graphql_api.schema.scalars import JSON, Vector
from storage.documents import BadRequest, Header, Statistics, state_of
from storage.documents import Histogram as StoredHistogram
from storage.documents import Result as StoredResult

_QUANTILE = "by linear interpolation between the two nearest values (Hyndman & Fan 1996, type 7)."


@strawberry.type(description="A measurement sample as it was submitted. It is kept whether it is valid or not.")
class Sample:
    """A header; what is not in it is read when it is asked for."""

    header: Private[Header]
    fresh: Private[bool]
    """The sample was just taken in, so there is no result to look for."""

    id: strawberry.ID = strawberry.field(description="The id of the sample, and of its result.")
    submitted_at: datetime = strawberry.field(description="When Firestore took the sample.")
    time_stamp: str | None = strawberry.field(
        description="The time stamp as submitted; null where the sample has no usable one."
    )
    count: int = strawberry.field(description="How many values `data` has; 0 where it is no list.")
    bytes: int = strawberry.field(description="The length of the raw document.")
    sha256: str = strawberry.field(description="The SHA-256 of the raw document, in hexadecimal.")

    @classmethod
    def of(cls, header: Header, *, fresh: bool = False) -> Self:
        """Show the sample of `header`; `fresh` where it was just taken in."""
        assert header.submitted_at is not None
        return cls(
            header=header,
            fresh=fresh,
            id=strawberry.ID(header.id),
            submitted_at=header.submitted_at,
            time_stamp=header.time_stamp,
            count=header.count,
            bytes=header.byte_count,
            sha256=header.sha256,
        )

    @strawberry.field(description="Where the sample is on its way.")
    async def state(self, info: Info) -> SampleState:
        """Derive the state from the header and the result."""
        result = await self._result(info)
        return state_of(self.header.arrival, None if result is None else result.status)

    @strawberry.field(description="What is wrong with the sample; empty unless it is REJECTED or FAILED.")
    async def problems(self, info: Info) -> list[ProblemType]:
        """Collect the problems that validation and the function found."""
        result = await self._result(info)
        found = [*self.header.problems, *([result.problem] if result and result.problem else [])]
        return [ProblemType.of(problem) for problem in found]

    @strawberry.field(description="What was computed from the sample; null unless it is COMPUTED.")
    async def result(self, info: Info) -> Annotated["Result", strawberry.lazy("graphql_api.schema.types")] | None:
        """Load the result."""
        result = await self._result(info)
        return None if result is None or result.statistics is None else Result.of(result)

    @strawberry.field(description="The raw document, exactly as it was submitted.")
    async def raw(self, info: Info) -> JSON:
        """Load the raw document."""
        return JSON(await info.context.raw(self.header))

    @strawberry.field(description="The values, or a part of them; empty where the sample is REJECTED.")
    async def data(
        self,
        info: Info,
        first: Annotated[int | None, strawberry.argument(description="At most so many values.")] = None,
        offset: Annotated[int, strawberry.argument(description="Skip so many values first.")] = 0,
    ) -> Vector:
        """Load the raw document and cut the values out of it."""
        for name, given in (("first", first), ("offset", offset)):
            if given is not None and given < 0:
                raise BadRequest(f"expected 0 or more, got {given} - at `{name}`")
        if self.header.problems:
            return Vector([])
        values = await info.context.values.load(self.header.id)
        return Vector(list(values[offset : None if first is None else offset + first]))

    async def _result(self, info: Info) -> StoredResult | None:
        if self.fresh or self.header.problems:
            return None
        return await info.context.results.load(self.header.id)


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
    async def sample(self, info: Info) -> Sample:
        """Load the sample's header."""
        header = await info.context.headers.load(self.id)
        if header is None:
            raise LookupError(f"the result {self.id} has no sample")
        return Sample.of(header)


_FIGURES = tuple(field.name for field in fields(Statistics) if field.name != "histogram")


@strawberry.type(description="A result and its place, from which one can go on.")
class ResultEdge:
    """Relay's edge."""

    cursor: str = strawberry.field(description="The place of this result; pass it as `after` or `before`.")
    node: Result = strawberry.field(description="The result.")


@strawberry.type(description="A sample and its place, from which one can go on.")
class SampleEdge:
    """Relay's edge."""

    cursor: str = strawberry.field(description="The place of this sample; pass it as `after` or `before`.")
    node: Sample = strawberry.field(description="The sample.")
