"""Samples of the API as Python objects. Field names are the GraphQL names in snake_case."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from dropzone.encoding import choice, parse_time
from dropzone.results import Result
from dropzone.statistics import Range, ResultOverview, check_range, label_variables, parse_labels


class SampleState(StrEnum):
    """The state of a sample. A submitted sample becomes COMPUTED, FAILED or REJECTED.

    A COMPUTED sample becomes SUPERSEDED if another sample corrects it. A sample is DELETED if it has just been deleted,
    or if it has expired and has no result.
    """

    PENDING = "PENDING"
    COMPUTED = "COMPUTED"
    SUPERSEDED = "SUPERSEDED"
    FAILED = "FAILED"
    REJECTED = "REJECTED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of a sample. `path` is a JSONPath into the sample. `code` is the kind of problem."""

    path: str
    message: str
    code: str

    def __str__(self) -> str:
        return f"{self.message} - at {self.path}"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The response to a submission. `state` is PENDING or REJECTED."""

    id: str
    state: SampleState
    problems: tuple[Problem, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return the receipt for its JSON object."""
        problems, labels = parse_problems(values["problems"]), values.get("labels", {})
        return cls(values["id"], SampleState(values["state"]), problems, labels)


@dataclass(frozen=True, slots=True)
class SettledSample:
    """A sample in its final state. `result` is None unless the state is COMPUTED or SUPERSEDED."""

    id: str
    state: SampleState
    problems: tuple[Problem, ...] = ()
    result: ResultOverview | None = None

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return the sample for its GraphQL object."""
        result = None if values["result"] is None else ResultOverview.parse(values["result"])
        return cls(values["id"], SampleState(values["state"]), parse_problems(values["problems"]), result)


@dataclass(frozen=True, slots=True)
class FailedAttempts:
    """The failed attempts to compute a sample, counted until `updated_at`. `problem` is about the last attempt."""

    count: int
    problem: str
    updated_at: datetime

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return the failed attempts for their GraphQL object."""
        return cls(values["count"], values["problem"], parse_time(values["updatedAt"]))


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """An event in the life of a sample, such as STORED or COMPUTED. `detail` is a human-readable message.

    The `detail` of SUPERSEDED is the id of the sample that corrects this one.
    """

    at: datetime
    event: str
    detail: str | None

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return the entry for its GraphQL object."""
        return cls(parse_time(values["at"]), values["event"], values["detail"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A stored sample.

    `result` is None unless the state is COMPUTED or SUPERSEDED, and `failed_attempts` unless the state is PENDING.
    """

    id: str
    state: SampleState
    problems: tuple[Problem, ...]
    failed_attempts: FailedAttempts | None
    timeline: tuple[TimelineEntry, ...]
    submitted_at: datetime
    time_stamp: str | None
    count: int
    bytes: int
    sha256: str
    missing_count: int
    submitted_by: str | None
    expires_at: datetime | None
    labels: Mapping[str, str]
    result: Result | None

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return the sample for its GraphQL object."""
        attempts = values["failedAttempts"]
        return cls(
            id=values["id"],
            state=SampleState(values["state"]),
            problems=parse_problems(values["problems"]),
            failed_attempts=attempts and FailedAttempts.parse(attempts),
            timeline=tuple(map(TimelineEntry.parse, values["timeline"])),
            submitted_at=parse_time(values["submittedAt"]),
            time_stamp=values["timeStamp"],
            count=values["count"],
            bytes=values["bytes"],
            sha256=values["sha256"],
            missing_count=values["missingCount"],
            submitted_by=values["submittedBy"],
            expires_at=None if values["expiresAt"] is None else parse_time(values["expiresAt"]),
            labels=parse_labels(values["labels"]),
            result=None if values["result"] is None else Result.parse(values["result"]),
        )


@dataclass(frozen=True, slots=True)
class HourlyRetention:
    """The number of days for which hourly statistics are kept. None means forever."""

    days: int | None = None


@dataclass(frozen=True, slots=True)
class Retention:
    """The numbers of days for which samples and results are kept. None means forever.

    `is_default` says whether this is the default, because the submitter has set no retention. `hourly` is the retention
    of the hourly statistics of expired results, or None if they are deleted with the results.
    """

    sample_days: int | None = None
    result_days: int | None = None
    is_default: bool = False
    hourly: HourlyRetention | None = None

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return the retention for its GraphQL object."""
        hourly = values["hourly"] and HourlyRetention(values["hourly"]["days"])
        return cls(values["sampleDays"], values["resultDays"], values["isDefault"], hourly)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFilter:
    """Selects the samples that match all conditions of this filter."""

    state: SampleState | None = None
    submitted_at: Range | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def variables(self) -> dict[str, Any]:
        """Return the filter as a GraphQL variable."""
        variables: dict[str, Any] = {}
        if self.state is not None:
            variables["state"] = choice(SampleState, self.state).value
        check_range("submitted_at", self.submitted_at)
        if self.submitted_at is not None:
            variables["submittedAt"] = self.submitted_at.variables()
        return variables | label_variables(self.labels)


def parse_problems(values: list[dict[str, str]]) -> tuple[Problem, ...]:
    """Return the problems for a list of JSON or GraphQL objects."""
    return tuple(Problem(entry["path"], entry["message"], entry["code"]) for entry in values)
