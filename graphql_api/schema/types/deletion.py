"""Deletions, deleted and superseded samples, and the retention of samples as clients see them."""

from datetime import datetime
from typing import Self

import strawberry

from graphql_api.results.deletion.deletion import Deletion, DeletionState
from graphql_api.schema.types.enums import describe_enum
from storage.documents import Result, Retention, Tombstone
from storage.documents.retention import MAX_DAYS, MIN_DAYS

_STATES = {
    DeletionState.RUNNING: "The API is deleting the samples.",
    DeletionState.FINISHED: "All selected samples are deleted.",
    DeletionState.INTERRUPTED: (
        "The API process that ran the deletion stopped, Firestore was unavailable, or other requests changed some "
        "samples during every attempt. To continue the deletion, request it again."
    ),
}

DAYS = f"From {MIN_DAYS} to {MAX_DAYS:,}. Null means forever."

describe_enum(DeletionState, "The progress of a deletion.", _STATES)


@strawberry.type(name="Deletion", description="A deletion of samples.")
class DeletionType:
    """A deletion as clients see it."""

    id: strawberry.ID = strawberry.field(description="The id of the deletion. Use it to query the progress.")
    state: DeletionState = strawberry.field(description="The progress of the deletion.")
    deleted: int = strawberry.field(description="The number of samples deleted so far.")
    reason: str = strawberry.field(description="The reason given in the request.")
    started_at: datetime = strawberry.field(description="The time when the deletion was requested.")
    updated_at: datetime = strawberry.field(description="The time when this progress was last stored.")

    @classmethod
    def of(cls, deletion: Deletion) -> Self:
        """Return the GraphQL object of `deletion`."""
        return cls(
            id=strawberry.ID(deletion.id),
            state=deletion.state,
            deleted=deletion.deleted,
            reason=deletion.reason,
            started_at=deletion.started_at,
            updated_at=deletion.updated_at,
        )


@strawberry.type(description="The record that remains of a deleted sample.")
class DeletedSample:
    """A tombstone as clients see it."""

    id: strawberry.ID = strawberry.field(description="The id of the deleted sample.")
    sha256: str = strawberry.field(
        description=(
            "The SHA-256 of the submitted JSON in hexadecimal. Empty if the sample had expired before its result was "
            "deleted."
        )
    )
    deleted_at: datetime = strawberry.field(description="The time of the deletion.")
    reason: str = strawberry.field(description="The reason given in the request. Can be empty.")

    @classmethod
    def of(cls, tombstone: Tombstone) -> Self:
        """Return the GraphQL object of a tombstone."""
        return cls(
            id=strawberry.ID(tombstone.sample_id),
            sha256=tombstone.sha256,
            deleted_at=tombstone.deleted_at,
            reason=tombstone.reason,
        )


@strawberry.type(
    description="A sample that was deleted or superseded. Its result is removed from all lists of results."
)
class Removal:
    """A deleted or superseded sample as clients see it."""

    id: strawberry.ID = strawberry.field(description="The id of the sample.")
    removed_at: datetime = strawberry.field(description="The time when the result was removed from the lists.")
    superseded_by: strawberry.ID | None = strawberry.field(
        description="The id of the sample that corrects this sample. Null if this sample was deleted."
    )
    reason: str = strawberry.field(
        description="The reason given for the deletion. Empty if no reason was given, or if the sample was superseded."
    )

    @classmethod
    def of(
        cls, written_at: datetime, sample_id: str, result: Result | None, tombstone: Tombstone | None
    ) -> Self | None:
        """Return the removal for the write of a result document. Return None if the write removes no result."""
        if tombstone is not None:
            return cls(id=strawberry.ID(sample_id), removed_at=written_at, superseded_by=None, reason=tombstone.reason)
        if result is None or result.superseded_by is None:
            return None
        corrected_by = strawberry.ID(result.superseded_by)
        return cls(id=strawberry.ID(sample_id), removed_at=written_at, superseded_by=corrected_by, reason="")


@strawberry.type(description="A removal and its position in the order of all writes of results.")
class RemovalEdge:
    """A removal in a subscription."""

    cursor: str = strawberry.field(
        description="The position of this removal. Pass it as `after` to resume the subscription."
    )
    node: Removal = strawberry.field(description="The sample that was deleted or superseded.")


@strawberry.type(name="HourlyRetention", description="How long the hourly statistics of expired results are kept.")
class HourlyRetentionType:
    """A retention of hourly statistics as clients see it."""

    days: int | None = strawberry.field(
        description=f"The number of days after the submission of the last sample in the statistics. {DAYS}"
    )


@strawberry.input(description="How long the hourly statistics of expired results are kept.")
class HourlyRetentionInput:
    """A retention of hourly statistics as clients set it."""

    days: int | None = strawberry.field(
        description=f"The number of days. Must be larger than `resultDays`. {DAYS}", default=None
    )


@strawberry.type(
    name="Retention",
    description="How long samples and results are kept. Firestore usually deletes them within a day after they expire.",
)
class RetentionType:
    """A retention as clients see it."""

    sample_days: int | None = strawberry.field(description=f"The number of days for samples. {DAYS}")
    result_days: int | None = strawberry.field(description=f"The number of days for results. {DAYS}")
    hourly: HourlyRetentionType | None = strawberry.field(
        description=(
            "How long the hourly statistics of expired results are kept. Null if they are deleted with the results. "
            "Otherwise, the function moves each expired result into the hourly archive, usually within a day. "
            "Firestore deletes the result only after that."
        )
    )
    is_default: bool = strawberry.field(
        description="Whether this is the default of the server, which applies if the submitter has not set a retention."
    )

    @classmethod
    def of(cls, retention: Retention, *, is_default: bool) -> Self:
        """Return the GraphQL object of a retention."""
        hourly = None if retention.hourly is None else HourlyRetentionType(days=retention.hourly.days)
        return cls(
            sample_days=retention.sample_days,
            result_days=retention.result_days,
            hourly=hourly,
            is_default=is_default,
        )
