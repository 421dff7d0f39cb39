"""A deletion removes samples with their chunks and results, and leaves a tombstone of each sample."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from graphql_api.results.jobs.job_records import stored_progress
from storage.documents.stored_fields import SERVER_TIME, read_integer


class DeletionState(StrEnum):
    """The state of a deletion. The first state is RUNNING. The other states are final."""

    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    INTERRUPTED = "INTERRUPTED"


@dataclass(frozen=True, slots=True)
class Deletion:
    """The progress of a deletion. `deleted` is the number of samples that are deleted, with results of expired ones."""

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
    def from_fields(cls, deletion_id: str, fields: Mapping[str, object], now: datetime) -> "Deletion":
        """Return the deletion that is stored as `fields`, as it is at `now`."""
        state, started_at, updated_at = stored_progress(DeletionState, fields, now)
        return cls(deletion_id, state, read_integer(fields, "deleted"), str(fields["reason"]), started_at, updated_at)
