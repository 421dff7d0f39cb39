"""A recomputation replaces outdated results with results of the current statistics version."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from graphql_api.results.jobs.job_records import stored_progress
from storage.documents.stored_fields import SERVER_TIME, read_integer


class RecomputationState(StrEnum):
    """The state of a recomputation. The first state is RUNNING. The other states are final."""

    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    INCOMPLETE = "INCOMPLETE"
    INTERRUPTED = "INTERRUPTED"


@dataclass(frozen=True, slots=True)
class Recomputation:
    """The progress of a recomputation.

    `requested` is the number of samples sent to the function. `done` is the number of new results.
    """

    id: str
    state: RecomputationState
    requested: int
    done: int
    started_at: datetime
    updated_at: datetime

    def fields(self) -> dict[str, object]:
        """Return the fields of the stored document. Firestore sets `updated_at`."""
        return {
            "state": self.state.value,
            "requested": self.requested,
            "done": self.done,
            "started_at": self.started_at,
            "updated_at": SERVER_TIME,
        }

    @classmethod
    def from_fields(cls, recomputation_id: str, fields: Mapping[str, object], now: datetime) -> "Recomputation":
        """Return the recomputation that is stored as `fields`, as it is at `now`."""
        state, started_at, updated_at = stored_progress(RecomputationState, fields, now)
        return cls(
            id=recomputation_id,
            state=state,
            requested=read_integer(fields, "requested"),
            done=read_integer(fields, "done"),
            started_at=started_at,
            updated_at=updated_at,
        )
