"""Samples as the API returns them. Names are those of the API in Python's spelling."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from dropzone.encoding import parse_time
from dropzone.results import Result
from dropzone.statistics import Range, ResultOverview


class SampleState(StrEnum):
    """The state of a sample. COMPUTED, FAILED and REJECTED are final."""

    PENDING = "PENDING"
    COMPUTED = "COMPUTED"
    FAILED = "FAILED"
    REJECTED = "REJECTED"


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of a sample. `path` is a JSONPath into the sample, `code` the kind of problem."""

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

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Read the JSON or GraphQL representation."""
        return cls(values["id"], SampleState(values["state"]), parse_problems(values["problems"]))


@dataclass(frozen=True, slots=True)
class SettledSample:
    """A sample in its final state. `result` is None unless the state is COMPUTED."""

    id: str
    state: SampleState
    problems: tuple[Problem, ...] = ()
    result: ResultOverview | None = None

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Read the GraphQL representation."""
        result = None if values["result"] is None else ResultOverview.parse(values["result"])
        return cls(values["id"], SampleState(values["state"]), parse_problems(values["problems"]), result)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A stored sample. `result` is None unless the state is COMPUTED."""

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
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Read the GraphQL representation."""
        return cls(
            id=values["id"],
            state=SampleState(values["state"]),
            problems=parse_problems(values["problems"]),
            submitted_at=parse_time(values["submittedAt"]),
            time_stamp=values["timeStamp"],
            count=values["count"],
            bytes=values["bytes"],
            sha256=values["sha256"],
            result=None if values["result"] is None else Result.parse(values["result"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFilter:
    """Selects the samples that match all of these conditions."""

    state: SampleState | None = None
    submitted_at: Range | None = None

    def variables(self) -> dict[str, Any]:
        """Return the filter as a GraphQL variable."""
        variables: dict[str, Any] = {}
        if self.state is not None:
            variables["state"] = self.state.value
        if self.submitted_at is not None:
            variables["submittedAt"] = self.submitted_at.variables()
        return variables


def parse_problems(values: list[dict[str, str]]) -> tuple[Problem, ...]:
    """Read a list of problems."""
    return tuple(Problem(entry["path"], entry["message"], entry["code"]) for entry in values)
