"""A result: the statistics of a sample, or the reason why they cannot be computed. The result determines the state.

A result has the id of its sample, so a second write of a result does not create a second document. A result also stores
the update time of its sample, so a late event never replaces the result of a newer version of the sample.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import msgspec

from storage.documents import document_paths, labels
from storage.documents.document_paths import StoredDocument
from storage.documents.labels import Labels
from storage.documents.problems import Problem
from storage.documents.retention import Archiving
from storage.documents.sample import Arrival
from storage.documents.statistics import STATISTICS_VERSION, Statistics
from storage.documents.stored_fields import (
    SERVER_TIME,
    read_integer,
    read_optional_text,
    read_optional_time,
    read_time,
)


class Status(StrEnum):
    """The outcome of the trigger function, or DELETED for the tombstone of a deleted sample.

    A SUPERSEDED result is a computed result of a sample that another sample corrects. Lists do not contain it.
    """

    COMPUTED = "COMPUTED"
    SUPERSEDED = "SUPERSEDED"
    FAILED = "FAILED"
    DELETED = "DELETED"


OUTCOMES = (Status.COMPUTED, Status.SUPERSEDED, Status.FAILED)
"""The outcomes of samples that exist. A tombstone has no sample."""


class SampleState(StrEnum):
    """The state of a sample as clients see it. A submission ends as exactly one of COMPUTED, FAILED, REJECTED.

    A COMPUTED sample becomes SUPERSEDED if another sample corrects it.

    A sample is DELETED only for a short time. A response that was created during its deletion has this state. So does a
    sample that has expired and has no result, until Firestore deletes it. After that, the sample does not exist.

    PENDING is not stored: it is the state of an accepted sample without a result. Therefore no write can leave a sample
    in two states, and a crash between two writes cannot leave a sample without a state.
    """

    PENDING = "PENDING"
    COMPUTED = "COMPUTED"
    SUPERSEDED = "SUPERSEDED"
    FAILED = "FAILED"
    REJECTED = "REJECTED"
    DELETED = "DELETED"


def state_of(arrival: Arrival, status: Status | None = None, *, has_expired: bool = False) -> SampleState:
    """Return the state of a sample. `status` is the status of its result, or None if the sample has no result.

    An expired sample without a result is DELETED, because Firestore may have deleted the result first.
    """
    if arrival is Arrival.REJECTED:
        return SampleState.REJECTED
    if status is not None:
        return SampleState(status.value)
    return SampleState.DELETED if has_expired else SampleState.PENDING


class Result(msgspec.Struct, frozen=True):
    """The result of one sample.

    A COMPUTED or SUPERSEDED result has `timestamp` and `statistics`. A FAILED result has `problem`.
    """

    submitter: str
    sample_id: str
    sample_update_time: datetime
    """The update time of the header from which this result was computed."""
    shard: int
    status: Status
    timestamp: datetime | None = None
    statistics: Statistics | None = None
    problem: Problem | None = None
    statistics_version: int = STATISTICS_VERSION
    computed_at: datetime | None = None
    """The time of the write by Firestore's clock. None before Firestore has confirmed the write."""
    first_computed_at: datetime | None = None
    """The time of the first statistics of the sample. Set if this result replaced a computed result."""
    submitted_at: datetime | None = None
    """When the sample was submitted, so that the audit can count both by it. None in results of earlier releases."""
    labels: Labels = {}
    superseded_by: str | None = None
    missing_count: int = 0
    sketch: bytes | None = None
    """The stored quantile sketch of the values. None before statistics version 4."""
    expire_at: datetime | None = None
    """When the result expires. None means never. Firestore then deletes it, unless `archiving` is set."""
    archiving: Archiving | None = None
    """If set, the function moves the expired result into the hourly archive.

    A COMPUTED result is then stored with the field `archive_at` instead of `expire_at`, so that Firestore does not
    delete it.
    """

    @classmethod
    def failed(
        cls, submitter: str, sample_id: str, update_time: datetime, header: Mapping[str, object], problem: Problem
    ) -> "Result":
        """Return the FAILED result of a sample. `header` are the fields of its stored header, which may be damaged."""
        shard = header.get("shard")
        return cls(
            submitter,
            sample_id,
            update_time,
            shard if isinstance(shard, int) else 0,
            Status.FAILED,
            problem=problem,
            submitted_at=read_optional_time(header, "submitted_at") or update_time,
            expire_at=read_optional_time(header, "result_expire_at"),
        )

    def fields(self) -> dict[str, object]:
        """Return the fields of the stored document."""
        fields: dict[str, object] = {
            "status": self.status.value,
            "shard": self.shard,
            "sample_update_time": self.sample_update_time,
            "statistics_version": self.statistics_version,
            "computed_at": SERVER_TIME,
        }
        if self.first_computed_at is not None:
            fields["first_computed_at"] = self.first_computed_at
        if self.labels:
            fields |= labels.stored_fields(self.labels)
        if self.missing_count:
            fields["missing_count"] = self.missing_count
        if self.superseded_by is not None:
            fields["superseded_by"] = self.superseded_by
        if self.submitted_at is not None:
            fields["submitted_at"] = self.submitted_at
        if self.expire_at is not None and self.archiving is not None and self.status is Status.COMPUTED:
            fields |= {"archive_at": self.expire_at, **self.archiving.fields()}
        elif self.expire_at is not None:
            fields["expire_at"] = self.expire_at
        if self.timestamp is not None and self.statistics is not None:
            fields["timestamp"] = self.timestamp
            fields |= self.statistics.fields()
            if self.sketch is not None:
                fields["sketch"] = self.sketch
        if self.problem is not None:
            fields["problem"] = self.problem.fields()
        return fields

    def belongs_to_sample(self, submitted_at: datetime) -> bool:
        """Return whether this result belongs to the sample that was submitted at this time.

        The function `belongs_to_sample` says the same about the fields of a stored result.
        """
        known = self.sample_update_time if self.status is Status.DELETED else self.submitted_at
        return known is None or known >= submitted_at

    @classmethod
    def from_fields(cls, submitter: str, sample_id: str, fields: Mapping[str, object]) -> "Result":
        """Return the result that is stored as `fields`.

        Raises `KeyError`, `TypeError` or `ValueError` if the fields do not describe a result.
        """
        status = Status(str(fields["status"]))
        computed = status in (Status.COMPUTED, Status.SUPERSEDED)
        problem, sketch = fields.get("problem"), fields.get("sketch")
        return cls(
            submitter=submitter,
            sample_id=sample_id,
            sample_update_time=read_time(fields, "sample_update_time"),
            shard=read_integer(fields, "shard"),
            status=status,
            timestamp=read_time(fields, "timestamp") if computed else None,
            statistics=Statistics.from_fields(fields) if computed else None,
            problem=Problem.from_fields(problem) if isinstance(problem, Mapping) else None,
            statistics_version=read_integer(fields, "statistics_version"),
            computed_at=read_time(fields, "computed_at"),
            first_computed_at=read_optional_time(fields, "first_computed_at"),
            submitted_at=read_optional_time(fields, "submitted_at"),
            labels=labels.from_fields(fields) if "labels" in fields else {},
            superseded_by=read_optional_text(fields, "superseded_by"),
            missing_count=read_integer(fields, "missing_count", 0),
            sketch=sketch if isinstance(sketch, bytes) else None,
            expire_at=read_optional_time(fields, "archive_at" if "archive_at" in fields else "expire_at"),
            archiving=Archiving.from_fields(fields) if "archiving" in fields else None,
        )


def belongs_to_sample(fields: Mapping[str, object], submitted_at: datetime) -> bool:
    """Return whether a stored result belongs to the sample that was submitted at this time.

    `fields` are the fields `status`, `sample_update_time` and `submitted_at` of the result. A tombstone, or a result
    that is kept longer than its sample, can belong to an earlier sample with the same idempotency key. The new sample
    is then PENDING. Results of earlier releases lack the time of submission, and belong to any sample with their id.
    """
    known = fields.get("sample_update_time" if fields.get("status") == Status.DELETED.value else "submitted_at")
    return not isinstance(known, datetime) or known >= submitted_at


def copy_with_new_id(submitter: str, sample_id: str, fields: Mapping[str, object]) -> StoredDocument:
    """Return the document that keeps a COMPUTED result if another sample takes the id of its sample.

    `fields` are all fields of the result. The result is kept longer than its sample. It gets a new id, and stays in
    lists and summaries until it expires.
    """
    kept_id = document_paths.kept_result_id(sample_id, str(fields["sample_update_time"]))
    first_computed_at = fields.get("first_computed_at", fields["computed_at"])
    kept = {**fields, "computed_at": SERVER_TIME, "first_computed_at": first_computed_at}
    return document_paths.result(submitter, kept_id), kept


@dataclass(frozen=True, slots=True)
class FailedAttempts:
    """The number of failed attempts to compute a PENDING sample, counted until `updated_at`.

    On one machine, the event delivery of `infra/embedded` stores this document. Google Cloud reports no failed
    attempts.
    """

    count: int
    problem: str
    """The problem of the last attempt."""
    updated_at: datetime

    @classmethod
    def from_fields(cls, fields: Mapping[str, object], updated_at: datetime) -> "FailedAttempts":
        """Return the failed attempts that are stored as `fields`. Raises `KeyError` or `TypeError`."""
        return cls(read_integer(fields, "attempts"), str(fields["problem"]), updated_at)
