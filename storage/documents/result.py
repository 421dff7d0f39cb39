"""A result: what a function computed from a sample, or why it never can be.

It bears the id of its sample, so writing it twice is writing it once, and the update time of the
sample that it was computed from, so that a late event never replaces what a newer one wrote.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from storage.documents.problems import Problem
from storage.documents.server_time import SERVER_TIME
from storage.documents.states import Status

STATISTICS_VERSION = 2
"""Goes up whenever a statistic is added or its definition changes."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values lie between one edge and the next: there is one edge more than there are counts.

    A bin holds its lower edge, and the last one its upper edge too.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Statistics:
    """What describes the numbers of a sample; docs/statistics.md has the definitions and their sources.

    The first five are in every result. The others are None in results of version 1, and where they are undefined:
    `sum` beyond the largest double, `sample_standard_deviation` of one value, `skewness` and `kurtosis` of equal ones.
    """

    count: int
    mean: float
    standard_deviation: float
    minimum: float
    maximum: float
    sum: float | None = None
    sample_standard_deviation: float | None = None
    percentile_1: float | None = None
    percentile_5: float | None = None
    lower_quartile: float | None = None
    median: float | None = None
    upper_quartile: float | None = None
    percentile_95: float | None = None
    percentile_99: float | None = None
    skewness: float | None = None
    kurtosis: float | None = None
    histogram: Histogram | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """`timestamp` and `statistics` where `status` is COMPUTED, `problem` where it is FAILED.

    `computed_at` is Firestore's time of the write, None until Firestore has confirmed it.
    """

    submitter: str
    sample_id: str
    sample_update_time: datetime
    shard: int
    status: Status
    timestamp: datetime | None = None
    statistics: Statistics | None = None
    problem: Problem | None = None
    statistics_version: int = STATISTICS_VERSION
    computed_at: datetime | None = None

    def fields(self) -> dict[str, object]:
        """Return the result as it is stored."""
        fields: dict[str, object] = {
            "status": self.status.value,
            "shard": self.shard,
            "sample_update_time": self.sample_update_time,
            "statistics_version": self.statistics_version,
            "computed_at": SERVER_TIME,
        }
        if self.timestamp is not None and self.statistics is not None:
            fields["timestamp"] = self.timestamp
            for name in _FIGURES:
                fields[name] = getattr(self.statistics, name)
            if (histogram := self.statistics.histogram) is not None:
                fields["histogram"] = {"edges": histogram.edges, "counts": histogram.counts}
        if self.problem is not None:
            fields["problem"] = self.problem.fields()
        return fields

    @classmethod
    def from_fields(cls, submitter: str, sample_id: str, fields: Mapping[str, object]) -> "Result":
        """Read back what `fields` gave. Raises `KeyError` on a foreign document."""
        status = Status(str(fields["status"]))
        computed = status is Status.COMPUTED
        problem = fields.get("problem")
        return cls(
            submitter=submitter,
            sample_id=sample_id,
            sample_update_time=_instant(fields["sample_update_time"]),
            shard=int(str(fields["shard"])),
            status=status,
            timestamp=_instant(fields["timestamp"]) if computed else None,
            statistics=_statistics(fields) if computed else None,
            problem=Problem.from_fields(problem) if isinstance(problem, Mapping) else None,
            statistics_version=int(str(fields["statistics_version"])),
            computed_at=_instant(fields["computed_at"]),
        )


_FIGURES = tuple(name for name in Statistics.__slots__ if name != "histogram")


def _statistics(fields: Mapping[str, object]) -> Statistics:
    always, later = _FIGURES[:5], _FIGURES[5:]
    count, mean, standard_deviation, minimum, maximum = (_number(fields[name]) for name in always)
    figures = {name: None if fields.get(name) is None else _number(fields[name]) for name in later}
    histogram = fields.get("histogram")
    return Statistics(
        int(count),
        mean,
        standard_deviation,
        minimum,
        maximum,
        **figures,
        histogram=_histogram(histogram) if isinstance(histogram, Mapping) else None,
    )


def _histogram(fields: Mapping[str, object]) -> Histogram:
    edges, counts = fields["edges"], fields["counts"]
    if not (isinstance(edges, Sequence) and isinstance(counts, Sequence)):
        raise TypeError(f"expected two lists, found {edges!r} and {counts!r}")
    return Histogram(tuple(map(_number, edges)), tuple(int(_number(count)) for count in counts))


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, found {value!r}")
    return float(value)


def _instant(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError(f"expected a time, found {value!r}")
    return value
