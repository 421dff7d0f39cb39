"""Results as the API returns them. Names are those of the API in Python's spelling."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from dropzone.encoding import camel_case, parse_time
from dropzone.statistics import Histogram, Statistics, Summary


@dataclass(frozen=True, kw_only=True)
class _Identity:
    id: str
    timestamp: datetime


@dataclass(frozen=True, kw_only=True)
class Result(Statistics, _Identity):
    """The result of the sample with the same id. `timestamp` is the time stamp of the sample in UTC."""

    # Fields are ordered by base class, the last base first: id, timestamp, the statistics, and then these.
    computed_at: datetime
    statistics_version: int

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Read the GraphQL representation."""
        read: dict[str, Any] = {field.name: values.get(camel_case(field.name)) for field in fields(cls)}
        for name in ("timestamp", "computed_at"):
            read[name] = parse_time(read[name])
        if (histogram := read["histogram"]) is not None:
            read["histogram"] = Histogram(tuple(histogram["edges"]), tuple(map(int, histogram["counts"])))
        return cls(**read)


@dataclass(frozen=True, slots=True)
class ResultEdge:
    """A result and its cursor. Pass the cursor as `after` to continue after this result."""

    cursor: str
    result: Result


class TimeBucket(StrEnum):
    """The length of a bucket of `over_time`."""

    MINUTE = "MINUTE"
    FIVE_MINUTES = "FIVE_MINUTES"
    HOUR = "HOUR"
    DAY = "DAY"


@dataclass(frozen=True, slots=True)
class Bucket:
    """The summary of the results whose time stamps lie in one bucket. `start` is the start of the bucket."""

    start: datetime
    summary: Summary
