"""A result: what a function computed from a sample, or why it never can be.

It bears the id of its sample, so writing it twice is writing it once, and the update time of the
sample that it was computed from, so that a late event never replaces what a newer one wrote.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from documents.fields import SERVER_TIME
from documents.problems import Problem
from documents.states import Status

STATISTICS_VERSION = 1
"""Goes up whenever a statistic is added or its definition changes."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What describes the numbers of a sample. The standard deviation is the population's."""

    count: int
    mean: float
    standard_deviation: float
    minimum: float
    maximum: float


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
            for name in Statistics.__slots__:
                fields[name] = getattr(self.statistics, name)
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


def _statistics(fields: Mapping[str, object]) -> Statistics:
    number = {name: fields[name] for name in Statistics.__slots__}
    return Statistics(
        count=int(str(number.pop("count"))), **{name: float(str(value)) for name, value in number.items()}
    )


def _instant(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError(f"expected a time, found {value!r}")
    return value
