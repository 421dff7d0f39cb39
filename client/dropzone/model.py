"""What the API answers, as values.

Names are those of the API in Python's spelling. A statistic is None where it is not defined, and in a result that was
computed before there was that statistic.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self


class SampleState(StrEnum):
    """Where a sample is on its way. It ends in COMPUTED, FAILED or REJECTED."""

    PENDING = "PENDING"
    COMPUTED = "COMPUTED"
    FAILED = "FAILED"
    REJECTED = "REJECTED"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a sample: `path` is a JSONPath into it, `code` the kind of fault."""

    path: str
    message: str
    code: str

    def __str__(self) -> str:
        return f"{self.message} - at {self.path}"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a submission is answered with; `state` is PENDING or REJECTED."""

    id: str
    state: SampleState
    problems: tuple[Problem, ...] = ()

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Self:
        """Read the answer of the server."""
        return cls(given["id"], SampleState(given["state"]), problems(given))


@dataclass(frozen=True, slots=True)
class Histogram:
    """`counts[i]` values lie between `edges[i]` and `edges[i + 1]`."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What was computed from a sample. Its id is the sample's; `standard_deviation` is the population's."""

    id: str
    timestamp: datetime
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
    computed_at: datetime
    statistics_version: int

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Self:
        """Read the answer of the server."""
        values: dict[str, Any] = {field.name: given.get(camel_case(field.name)) for field in fields(cls)}
        for name in ("timestamp", "computed_at"):
            values[name] = moment(values[name])
        if values["histogram"] is not None:
            drawn = values["histogram"]
            values["histogram"] = Histogram(tuple(drawn["edges"]), tuple(map(int, drawn["counts"])))
        return cls(**values)


@dataclass(frozen=True, slots=True)
class ResultEdge:
    """A result and its place among all: pass `cursor` as `after` to go on behind it."""

    cursor: str
    result: Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A sample as it was submitted; `result` is there once it is COMPUTED."""

    id: str
    state: SampleState
    problems: tuple[Problem, ...]
    submitted_at: datetime
    time_stamp: str | None
    count: int
    bytes: int
    sha256: str
    result: Result | None

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Self:
        """Read the answer of the server."""
        return cls(
            id=given["id"],
            state=SampleState(given["state"]),
            problems=problems(given),
            submitted_at=moment(given["submittedAt"]),
            time_stamp=given["timeStamp"],
            count=given["count"],
            bytes=given["bytes"],
            sha256=given["sha256"],
            result=None if given["result"] is None else Result.parse(given["result"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Many results taken together: the statistics are those of all their values. None where there are none."""

    results: int
    values: int
    mean: float | None
    standard_deviation: float | None
    minimum: float | None
    maximum: float | None

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Self:
        """Read the answer of the server."""
        values = {field.name: given[camel_case(field.name)] for field in fields(Summary)}
        return cls(**values | {"results": int(values["results"]), "values": int(values["values"])})


class TimeBucket(StrEnum):
    """How long a bucket of `over_time` is."""

    MINUTE = "MINUTE"
    FIVE_MINUTES = "FIVE_MINUTES"
    HOUR = "HOUR"
    DAY = "DAY"


@dataclass(frozen=True, slots=True)
class Bucket:
    """The results whose time stamps are in one stretch of time, from `start` on."""

    start: datetime
    summary: Summary


def moment(text: str) -> datetime:
    """Read a time of the API, which is in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


def moment_text(value: datetime) -> str:
    """Write a time as the API does."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def problems(given: Mapping[str, Any]) -> tuple[Problem, ...]:
    """Read a list of problems."""
    return tuple(Problem(entry["path"], entry["message"], entry["code"]) for entry in given["problems"])


def camel_case(name: str) -> str:
    """Spell a name as GraphQL does: `percentile_95` is `percentile95`."""
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)
