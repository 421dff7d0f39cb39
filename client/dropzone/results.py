"""Results of the API as Python objects. Field names are the GraphQL names in snake_case."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from dropzone.encoding import camel_case, parse_time
from dropzone.statistics import Histogram, Statistics, Summary, parse_labels


@dataclass(frozen=True, kw_only=True)
class _Identity:
    id: str
    timestamp: datetime


@dataclass(frozen=True, kw_only=True)
class Result(Statistics, _Identity):
    """The result of the sample with the same id. `timestamp` is the time stamp of the sample in UTC."""

    # A dataclass orders fields by base class, the last base first: id, timestamp, statistics, then the fields below.
    computed_at: datetime
    statistics_version: int
    labels: dict[str, str]
    superseded_by: str | None = None

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return the result for its GraphQL object."""
        read: dict[str, Any] = {each.name: values.get(camel_case(each.name)) for each in fields(cls)}
        for name in ("timestamp", "computed_at"):
            read[name] = parse_time(read[name])
        read["labels"] = parse_labels(read["labels"])
        if (histogram := read["histogram"]) is not None:
            read["histogram"] = Histogram(tuple(histogram["edges"]), tuple(map(int, histogram["counts"])))
        return cls(**read)


@dataclass(frozen=True, slots=True)
class ResultEdge:
    """A result and its cursor. Pass the cursor as `after` to continue after this result."""

    cursor: str
    result: Result


class TimeBucket(StrEnum):
    """The length of a time bucket of `over_time`."""

    MINUTE = "MINUTE"
    FIVE_MINUTES = "FIVE_MINUTES"
    HOUR = "HOUR"
    DAY = "DAY"


@dataclass(frozen=True, slots=True)
class Bucket:
    """The summary of the results whose time stamps are in one time bucket. `start` is the start of the bucket.

    `labels` is empty unless `over_time` was called with `group_by`. The results of the bucket then share these labels.
    """

    start: datetime
    summary: Summary
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """The summary of the results that share `labels`."""

    labels: Mapping[str, str]
    summary: Summary
