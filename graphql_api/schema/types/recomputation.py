"""Recomputations of results as clients see them."""

from datetime import datetime
from typing import Self

import strawberry

from graphql_api.results.recomputation.recomputation import Recomputation, RecomputationState
from graphql_api.schema.types.enums import describe_enum

_STATES = {
    RecomputationState.RUNNING: "The API is sending the samples to the function again and waiting for the new results.",
    RecomputationState.FINISHED: "Every sample that was sent to the function again has a new result.",
    RecomputationState.INCOMPLETE: (
        "Some samples got no new result in time. The function may still write these results, unless it cannot compute "
        "the samples. To continue the recomputation, request it again."
    ),
    RecomputationState.INTERRUPTED: (
        "The API process that ran the recomputation stopped, or Firestore was unavailable. To continue the "
        "recomputation, request it again."
    ),
}

describe_enum(RecomputationState, "The progress of a recomputation.", _STATES)


@strawberry.type(
    name="Recomputation", description="A recomputation of results with the current version of the statistics."
)
class RecomputationType:
    """A recomputation as clients see it."""

    id: strawberry.ID = strawberry.field(description="The id of the recomputation. Use it to query the progress.")
    state: RecomputationState = strawberry.field(description="Whether the recomputation is running, or how it ended.")
    requested: int = strawberry.field(description="The number of samples that were sent to the function again so far.")
    done: int = strawberry.field(
        description="The number of these samples that already have a new result. Compare it with `requested`."
    )
    started_at: datetime = strawberry.field(description="The time when the recomputation was requested.")
    updated_at: datetime = strawberry.field(description="The time when this progress was last stored.")

    @classmethod
    def of(cls, recomputation: Recomputation) -> Self:
        """Return the GraphQL object of `recomputation`."""
        return cls(
            id=strawberry.ID(recomputation.id),
            state=recomputation.state,
            requested=recomputation.requested,
            done=recomputation.done,
            started_at=recomputation.started_at,
            updated_at=recomputation.updated_at,
        )
