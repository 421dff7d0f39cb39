"""A result as clients see it: the statistics of one sample."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar

import strawberry
from strawberry import Private

from graphql_api.schema.context import Info
from graphql_api.schema.costs import READ, VECTOR, costs
from graphql_api.schema.types.label import LABEL, LABELS, Label, LabelName, graphql_labels
from graphql_api.schema.types.scalars import Vector
from storage.documents import STATISTICS, Header, Labels, NotFound, Statistic, Statistics
from storage.documents import Histogram as StoredHistogram
from storage.documents import Result as StoredResult

if TYPE_CHECKING:
    from graphql_api.schema.types.sample import Sample

T = TypeVar("T")


@strawberry.type(description="A histogram of the values of a sample, from the smallest value to the largest.")
class Histogram:
    """The bin edges and counts of a histogram as clients see them."""

    edges: Vector = strawberry.field(
        description="The edges of the bins in ascending order. `edges` has one element more than `counts`.",
        metadata=costs(VECTOR),
    )
    counts: Vector = strawberry.field(
        description=(
            "The number of values in each bin. Each bin includes its lower edge. The last bin also includes its upper "
            "edge."
        ),
        metadata=costs(VECTOR),
    )

    @classmethod
    def of(cls, histogram: StoredHistogram) -> Self:
        """Return the GraphQL object of a stored histogram."""
        return cls(edges=Vector(list(histogram.edges)), counts=Vector(list(histogram.counts)))


def _with_statistics(cls: type[T]) -> type[T]:
    """Add a field for each declared statistic. Each field reads its value from the attribute `statistics`."""
    for statistic in STATISTICS.values():
        is_histogram = issubclass(statistic.value_type, StoredHistogram)
        value_type: Any = Histogram if is_histogram else statistic.value_type
        field = strawberry.field(
            resolver=_histogram_resolver(statistic.name) if is_histogram else _number_resolver(statistic.name),
            name=graphql_name(statistic),
            description=_description(statistic),
            graphql_type=value_type | None if statistic.is_nullable else value_type,
        )
        setattr(cls, statistic.name, field)
    return cls


def graphql_name(statistic: Statistic) -> str:
    """Return the name of a statistic in camel case: `percentile95` for `percentile_95`."""
    first, *others = statistic.name.split("_")
    return first + "".join(other.capitalize() for other in others)


def _description(statistic: Statistic) -> str:
    since = f" Null in results with a `statisticsVersion` below {statistic.since}." if statistic.since > 1 else ""
    return statistic.description + since


def _number_resolver(name: str) -> Callable[["Result"], float | None]:
    def resolve(self: "Result") -> Any:
        return getattr(self.statistics, name)

    return resolve


def _histogram_resolver(name: str) -> Callable[["Result"], Histogram | None]:
    def resolve(self: "Result") -> Any:
        histogram = getattr(self.statistics, name)
        return None if histogram is None else Histogram.of(histogram)

    return resolve


SUBMITTED_BY = (
    "The credential that submitted the sample. For an API key, this is its label, or `key` and the start of its "
    "digest if the key has no label. For an access token, this is the client id. Null for samples that were stored by "
    "an earlier version of Dropzone."
)


@strawberry.type(description="The statistics of one sample.")
@_with_statistics
class Result:
    """A result with the status COMPUTED. The problem of a FAILED result is in `problems` of its sample."""

    statistics: Private[Statistics]
    stored_labels: Private[Labels]
    submitted_at: Private[datetime | None]
    """When the sample of this result was submitted. None in results of earlier releases."""

    id: strawberry.ID = strawberry.field(description="The id of the result. It is also the id of the sample.")
    timestamp: datetime = strawberry.field(description="The time stamp of the sample in UTC.")
    computed_at: datetime = strawberry.field(description="The time when Firestore stored the result.")
    first_computed_at: datetime = strawberry.field(
        description=(
            "The time when Firestore stored the first statistics of the sample. It differs from `computedAt` if the "
            "sample was recomputed or superseded."
        )
    )
    statistics_version: int = strawberry.field(
        description=(
            "The version of the statistics in this result. The version increases when a release adds a statistic or "
            "changes a definition."
        )
    )
    missing_count: int = strawberry.field(
        description="The number of nulls in `data` that the statistics leave out. See `skipMissingValues`."
    )
    superseded_by: strawberry.ID | None = strawberry.field(
        description="The id of the sample that corrects the sample of this result. Null if no sample corrects it."
    )

    @classmethod
    def of(cls, result: StoredResult) -> Self:
        """Return the GraphQL object of a computed result."""
        assert result.statistics is not None
        assert result.timestamp is not None
        assert result.computed_at is not None
        return cls(
            statistics=result.statistics,
            id=strawberry.ID(result.sample_id),
            timestamp=result.timestamp,
            computed_at=result.computed_at,
            first_computed_at=result.first_computed_at or result.computed_at,
            statistics_version=result.statistics_version,
            stored_labels=result.labels,
            submitted_at=result.submitted_at,
            missing_count=result.missing_count,
            superseded_by=None if result.superseded_by is None else strawberry.ID(result.superseded_by),
        )

    @strawberry.field(description=LABELS)
    def labels(self) -> list[Label]:
        """Return the labels."""
        return graphql_labels(self.stored_labels)

    @strawberry.field(description=LABEL)
    def label(self, name: LabelName) -> str | None:
        """Return the value of one label."""
        return self.stored_labels.get(name)

    @strawberry.field(description=SUBMITTED_BY, metadata=costs(READ))
    async def submitted_by(self, info: Info) -> str | None:
        """Load the header of the sample. Return None if the sample was deleted, or if its header has no credential."""
        header = await self._header(info)
        return None if header is None else header.submitted_by

    @strawberry.field(
        description=(
            "The sample of this result. If the sample was deleted, the field is null, and `errors` has an entry with "
            "the code NOT_FOUND."
        ),
        metadata=costs(READ),
    )
    async def sample(
        self, info: Info
    ) -> Annotated["Sample", strawberry.lazy("graphql_api.schema.types.sample")] | None:
        """Load the header of the sample."""
        from graphql_api.schema.types.sample import Sample

        header = await self._header(info)
        if header is None:
            raise NotFound(f"the sample of the result {self.id} was deleted")
        return Sample.of(header)

    async def _header(self, info: Info) -> Header | None:
        """Load the header of the sample. Return None if it was deleted.

        A later sample with the same idempotency key can have the id of a result that is kept longer than its sample.
        """
        header = await info.context.headers.load(self.id)
        if header is None or header.submitted_at is None or self.submitted_at is None:
            return header
        return header if header.submitted_at <= self.submitted_at else None
