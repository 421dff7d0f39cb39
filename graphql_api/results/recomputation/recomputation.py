"""A recomputation replaces outdated results with results of the current statistics version."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from storage.documents.server_time import SERVER_TIME

_INTERRUPTED_AFTER = timedelta(seconds=30)


class RecomputationState(StrEnum):
    """The state of a recomputation. It is RUNNING first. The other states are final."""

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
    def from_fields(cls, recomputation_id: str, fields: Mapping[str, object]) -> "Recomputation":
        """Return the recomputation that is stored as `fields`.

        It is INTERRUPTED if it is stored as RUNNING and was not updated for 30 seconds.
        """
        started_at, updated_at = fields["started_at"], fields["updated_at"]
        if not (isinstance(started_at, datetime) and isinstance(updated_at, datetime)):
            raise TypeError(f"expected times in `started_at` and `updated_at`, got {started_at!r} and {updated_at!r}")
        state = RecomputationState(str(fields["state"]))
        if state is RecomputationState.RUNNING and datetime.now(UTC) - updated_at > _INTERRUPTED_AFTER:
            state = RecomputationState.INTERRUPTED
        return cls(
            id=recomputation_id,
            state=state,
            requested=int(str(fields["requested"])),
            done=int(str(fields["done"])),
            started_at=started_at,
            updated_at=updated_at,
        )
