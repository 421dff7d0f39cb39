"""Deletions and deleted samples as clients see them."""

from datetime import datetime
from typing import Self

import strawberry

from graphql_api.results.deletion.deletion import Deletion, DeletionState
from graphql_api.schema.types.enums import describe_enum
from storage.documents import Tombstone

_STATES = {
    DeletionState.RUNNING: "The API deletes the samples.",
    DeletionState.FINISHED: "All selected samples are deleted.",
    DeletionState.INTERRUPTED: (
        "The API process that ran the deletion stopped, or Firestore was unavailable. To continue, request it again."
    ),
}

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


@strawberry.type(description="What remains of a deleted sample.")
class DeletedSample:
    """A tombstone as clients see it."""

    id: strawberry.ID = strawberry.field(description="The id of the deleted sample.")
    sha256: str = strawberry.field(description="The SHA-256 of the deleted raw document in hexadecimal.")
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


@strawberry.type(description="A deleted sample, and the position of its deletion among all writes of results.")
class DeletedSampleEdge:
    """A deletion in a subscription."""

    cursor: str = strawberry.field(description="The position of this deletion. Pass it as `after`.")
    node: DeletedSample = strawberry.field(description="What remains of the sample.")
