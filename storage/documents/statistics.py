"""The statistics of a sample. Each statistic is declared once, as a field of `Statistics`.

The stored document, the GraphQL type, its filters and orders, `GET /results` and summaries are derived from these
declarations. `docs/statistics.md` has the definitions and their sources.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import NoneType
from typing import Annotated, get_args, get_type_hints

import msgspec

STATISTICS_VERSION = 4
"""Each result stores this number. If it is lower than the current one, the result is outdated: `recompute` selects it.

Increase the number by 1 for the first statistic that is added or changed after a release. Version 3 added the labels of
the sample, and version 4 the quantile sketch for summaries.
"""


class Unit(Enum):
    """The unit of a statistic."""

    VALUE = "the unit of the values"
    COUNT = "a number of values"
    NONE = "no unit"


@dataclass(frozen=True, slots=True)
class Histogram:
    """The number of values in each bin. Bin i contains the values from `edges[i]` up to `edges[i + 1]`.

    `edges` has one element more than `counts`. Only the last bin contains its upper edge.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Statistic:
    """The declaration of a statistic. `name`, `value_type` and `is_nullable` come from the field of `Statistics`."""

    description: str
    """The definition for clients. If the statistic can be null, the description ends with the condition."""
    unit: Unit
    since: int
    """The first statistics version with this statistic. The statistic is null in results of earlier versions."""
    is_indexed: bool = False
    """Whether clients can filter and order results by this statistic.

    Requires indexes in `infra/gcp/firestore.indexes.json`.
    """
    is_merged: bool = False
    """Whether summaries of results contain this statistic.

    Requires a merge function in `storage/rollups/merged_statistics.py`.
    """
    name: str = ""
    value_type: type[float] | type[Histogram] = float
    is_nullable: bool = False


_TYPE_7 = "interpolated linearly between the two nearest values (Hyndman & Fan 1996, type 7)."


class Statistics(msgspec.Struct, frozen=True):
    """The statistics of one sample.

    The order of the fields is the order of the columns in exports. Add a new statistic at the end.
    """

    count: Annotated[int, Statistic("The number of values.", Unit.COUNT, since=1, is_indexed=True, is_merged=True)]
    mean: Annotated[
        float,
        Statistic(
            "The arithmetic mean of the values, correctly rounded.",
            Unit.VALUE,
            since=1,
            is_indexed=True,
            is_merged=True,
        ),
    ]
    standard_deviation: Annotated[
        float,
        Statistic(
            "The population standard deviation: the square root of the mean squared deviation from the mean.",
            Unit.VALUE,
            since=1,
            is_indexed=True,
            is_merged=True,
        ),
    ]
    minimum: Annotated[float, Statistic("The smallest value.", Unit.VALUE, since=1, is_indexed=True, is_merged=True)]
    maximum: Annotated[float, Statistic("The largest value.", Unit.VALUE, since=1, is_indexed=True, is_merged=True)]
    sum: Annotated[
        float | None,
        Statistic(
            "The sum of the values, correctly rounded. Null if the sum exceeds the largest double.", Unit.VALUE, since=2
        ),
    ] = None
    sample_standard_deviation: Annotated[
        float | None,
        Statistic(
            "The sample standard deviation, with Bessel's correction: the sum of squared deviations is divided by "
            "`count` - 1. Null if there is only one value, or if the deviation exceeds the largest double.",
            Unit.VALUE,
            since=2,
        ),
    ] = None
    percentile_1: Annotated[float | None, Statistic(f"The 1st percentile, {_TYPE_7}", Unit.VALUE, since=2)] = None
    percentile_5: Annotated[float | None, Statistic(f"The 5th percentile, {_TYPE_7}", Unit.VALUE, since=2)] = None
    lower_quartile: Annotated[float | None, Statistic(f"The 25th percentile, {_TYPE_7}", Unit.VALUE, since=2)] = None
    median: Annotated[
        float | None,
        Statistic(
            "The 50th percentile: the middle value, or the mean of the two middle values.",
            Unit.VALUE,
            since=2,
            is_indexed=True,
        ),
    ] = None
    upper_quartile: Annotated[float | None, Statistic(f"The 75th percentile, {_TYPE_7}", Unit.VALUE, since=2)] = None
    percentile_95: Annotated[float | None, Statistic(f"The 95th percentile, {_TYPE_7}", Unit.VALUE, since=2)] = None
    percentile_99: Annotated[float | None, Statistic(f"The 99th percentile, {_TYPE_7}", Unit.VALUE, since=2)] = None
    skewness: Annotated[
        float | None,
        Statistic(
            "The Fisher-Pearson skewness g1 = m3 / m2^1.5, from central moments without bias correction (Joanes & "
            "Gill 1998). Null if all values are equal.",
            Unit.NONE,
            since=2,
        ),
    ] = None
    kurtosis: Annotated[
        float | None,
        Statistic(
            "The excess kurtosis g2 = m4 / m2^2 - 3, from central moments without bias correction (Joanes & Gill "
            "1998). It is 0 for a normal distribution. Null if all values are equal.",
            Unit.NONE,
            since=2,
        ),
    ] = None
    histogram: Annotated[
        Histogram | None, Statistic("The distribution of the values over bins of equal width.", Unit.COUNT, since=2)
    ] = None

    def fields(self) -> dict[str, object]:
        """Return the statistics as fields of the stored document."""
        return {name: _to_field(getattr(self, name)) for name in STATISTICS}

    @classmethod
    def from_fields(cls, fields: Mapping[str, object]) -> "Statistics":
        """Return the statistics in the fields of a stored document. The document can have any statistics version.

        Raises `msgspec.ValidationError`, a `ValueError`, if a value has a wrong type, or if a statistic is missing that
        cannot be null.
        """
        return msgspec.convert(fields, cls)


def _to_field(value: float | Histogram | None) -> object:
    return {"edges": value.edges, "counts": value.counts} if isinstance(value, Histogram) else value


def _declarations() -> Iterator[Statistic]:
    for name, hint in get_type_hints(Statistics, include_extras=True).items():
        annotation, statistic = get_args(hint)
        types = get_args(annotation) or (annotation,)
        yield replace(statistic, name=name, value_type=types[0], is_nullable=NoneType in types)


STATISTICS: Mapping[str, Statistic] = {statistic.name: statistic for statistic in _declarations()}
"""All statistics by name, in the order of the fields of `Statistics`."""

INDEXED_FIELDS = (
    *sorted(["timestamp", *(each.name for each in STATISTICS.values() if each.is_indexed and not each.is_nullable)]),
)
"""The fields that every computed result has. Each composite index of results contains them, in this order."""
