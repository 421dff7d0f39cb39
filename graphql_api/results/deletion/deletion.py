"""A deletion removes samples with everything that belongs to them, and leaves a tombstone of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from storage.documents.server_time import SERVER_TIME

_INTERRUPTED_AFTER = timedelta(seconds=30)


class DeletionState(StrEnum):
    """The state of a deletion. It is RUNNING first. The other states are final."""

    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    INTERRUPTED = "INTERRUPTED"


@dataclass(frozen=True, slots=True)
class Deletion:
    """The progress of a deletion. `deleted` is the number of samples that are deleted."""

    id: str
    state: DeletionState
    deleted: int
    reason: str
    started_at: datetime
    updated_at: datetime

    def fields(self) -> dict[str, object]:
        """Return the fields of the stored document. Firestore sets `updated_at`."""
        return {
            "state": self.state.value,
            "deleted": self.deleted,
            "reason": self.reason,
            "started_at": self.started_at,
            "updated_at": SERVER_TIME,
        }

    @classmethod
    def from_fields(cls, deletion_id: str, fields: Mapping[str, object]) -> "Deletion":
        """Return the deletion that is stored as `fields`.

        It is INTERRUPTED if it is stored as RUNNING and was not updated for 30 seconds.
        """
        started_at, updated_at = fields["started_at"], fields["updated_at"]
        if not (isinstance(started_at, datetime) and isinstance(updated_at, datetime)):
            raise TypeError(f"expected times in `started_at` and `updated_at`, got {started_at!r} and {updated_at!r}")
        state = DeletionState(str(fields["state"]))
        if state is DeletionState.RUNNING and datetime.now(UTC) - updated_at > _INTERRUPTED_AFTER:
            state = DeletionState.INTERRUPTED
        return cls(deletion_id, state, int(str(fields["deleted"])), str(fields["reason"]), started_at, updated_at)
