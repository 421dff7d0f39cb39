"""The timeline of a sample: its events and their times, from the header, the result and failed attempts."""

from collections.abc import Iterator
from datetime import datetime
from enum import Enum
from typing import Self

import strawberry

from graphql_api.schema.types.enums import describe_enum
from storage.documents import FailedAttempts, Header, Result, Status


class TimelineEvent(Enum):
    """What happened to a sample."""

    STORED = "STORED"
    REJECTED = "REJECTED"
    ATTEMPTS_FAILED = "ATTEMPTS_FAILED"
    RECOMPUTATION_REQUESTED = "RECOMPUTATION_REQUESTED"
    COMPUTED = "COMPUTED"
    RECOMPUTED = "RECOMPUTED"
    FAILED = "FAILED"
    SUPERSEDED = "SUPERSEDED"


describe_enum(
    TimelineEvent,
    "What happened to a sample.",
    {
        TimelineEvent.STORED: "Firestore stored the sample.",
        TimelineEvent.REJECTED: "Firestore stored the sample. The sample is invalid.",
        TimelineEvent.ATTEMPTS_FAILED: (
            "The function failed to compute the statistics of the sample. Dropzone will retry."
        ),
        TimelineEvent.RECOMPUTATION_REQUESTED: (
            "The mutation `recompute` or the audit requested a recomputation. If there were several requests, the "
            "timeline has the last."
        ),
        TimelineEvent.COMPUTED: "The function stored the statistics for the first time.",
        TimelineEvent.RECOMPUTED: "The function stored new statistics, which replaced the earlier statistics.",
        TimelineEvent.FAILED: "The function could not compute the statistics, and stored the problem.",
        TimelineEvent.SUPERSEDED: "A later sample corrected this sample. `detail` is the id of the later sample.",
    },
)


@strawberry.type(description="One event in the life of a sample.")
class TimelineEntry:
    """An event as clients see it."""

    at: datetime = strawberry.field(description="The time of the event.")
    event: TimelineEvent = strawberry.field(description="What happened.")
    detail: str | None = strawberry.field(
        description=(
            "Details of the event, such as the problem or the id of another sample. Null if the event has no details."
        )
    )

    @classmethod
    def all_of(cls, header: Header, result: Result | None, attempts: FailedAttempts | None) -> list[Self]:
        """Return the events of a sample, oldest first: at most one of each kind."""
        return sorted(cls._all_of(header, result, attempts), key=lambda entry: entry.at)

    @classmethod
    def _all_of(cls, header: Header, result: Result | None, attempts: FailedAttempts | None) -> Iterator[Self]:
        assert header.submitted_at is not None
        if header.problems:
            yield cls(at=header.submitted_at, event=TimelineEvent.REJECTED, detail=str(header.problems[0].message))
        else:
            yield cls(at=header.submitted_at, event=TimelineEvent.STORED, detail=None)
        if attempts is not None:
            detail = f"{attempts.count} failed attempts; the last problem: {attempts.problem}"
            yield cls(at=attempts.updated_at, event=TimelineEvent.ATTEMPTS_FAILED, detail=detail)
        if header.recompute_requested_at is not None:
            yield cls(at=header.recompute_requested_at, event=TimelineEvent.RECOMPUTATION_REQUESTED, detail=None)
        if result is not None and result.computed_at is not None and result.status is not Status.DELETED:
            yield from cls._of_result(result, result.computed_at)
        superseded_at = header.superseded_at or _superseded_at(result)
        if superseded_at is not None:
            yield cls(at=superseded_at, event=TimelineEvent.SUPERSEDED, detail=header.superseded_by)

    @classmethod
    def _of_result(cls, result: Result, stored_at: datetime) -> Iterator[Self]:
        """Yield the events in the result. A superseded result still has the statistics of its sample."""
        if result.statistics is not None or result.first_computed_at is not None:
            yield cls(at=result.first_computed_at or stored_at, event=TimelineEvent.COMPUTED, detail=None)
        if result.problem is not None:
            yield cls(at=stored_at, event=TimelineEvent.FAILED, detail=result.problem.message)
        elif result.first_computed_at is not None and result.status is Status.COMPUTED:
            yield cls(at=stored_at, event=TimelineEvent.RECOMPUTED, detail=None)


def _superseded_at(result: Result | None) -> datetime | None:
    """Return the time of the correction. Headers of earlier releases lack it, but the result was stored just after."""
    return result.computed_at if result is not None and result.status is Status.SUPERSEDED else None
