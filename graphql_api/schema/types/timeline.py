"""The timeline of a sample: what happened to it, and when. It follows from documents that are stored anyway."""

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
    FAILED = "FAILED"


describe_enum(
    TimelineEvent,
    "What happened to a sample.",
    {
        TimelineEvent.STORED: "Firestore stored the sample.",
        TimelineEvent.REJECTED: "Firestore stored the sample, which is invalid.",
        TimelineEvent.ATTEMPTS_FAILED: "The function failed to compute the sample. It is tried again.",
        TimelineEvent.RECOMPUTATION_REQUESTED: "The last request to compute the sample again, by `recompute` or by the "
        "audit.",
        TimelineEvent.COMPUTED: "The function stored the statistics.",
        TimelineEvent.FAILED: "The function stored why the sample has no statistics.",
    },
)


@strawberry.type(description="One event in the life of a sample.")
class TimelineEntry:
    """An event as clients see it."""

    at: datetime = strawberry.field(description="The time of the event.")
    event: TimelineEvent = strawberry.field(description="What happened.")
    detail: str | None = strawberry.field(description="A message for people, for example the problem. Null if none.")

    @classmethod
    def all_of(cls, header: Header, result: Result | None, attempts: FailedAttempts | None) -> list[Self]:
        """Return the events of a sample, oldest first. There are at most four."""
        return sorted(cls._all_of(header, result, attempts), key=lambda entry: entry.at)

    @classmethod
    def _all_of(cls, header: Header, result: Result | None, attempts: FailedAttempts | None) -> Iterator[Self]:
        assert header.submitted_at is not None
        if header.problems:
            yield cls(at=header.submitted_at, event=TimelineEvent.REJECTED, detail=str(header.problems[0].message))
            return
        yield cls(at=header.submitted_at, event=TimelineEvent.STORED, detail=None)
        if attempts is not None:
            detail = f"{attempts.count} failed attempts; the last problem: {attempts.problem}"
            yield cls(at=attempts.updated_at, event=TimelineEvent.ATTEMPTS_FAILED, detail=detail)
        if header.recompute_requested_at is not None:
            yield cls(at=header.recompute_requested_at, event=TimelineEvent.RECOMPUTATION_REQUESTED, detail=None)
        if result is not None and result.computed_at is not None and result.status is not Status.DELETED:
            event = TimelineEvent.FAILED if result.statistics is None else TimelineEvent.COMPUTED
            problem = None if result.problem is None else result.problem.message
            yield cls(at=result.computed_at, event=event, detail=problem)
