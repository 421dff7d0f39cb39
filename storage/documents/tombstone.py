"""A tombstone: the document that remains of a deleted sample.

A tombstone replaces the result. Its field `sample_update_time` contains the time of the deletion. A late event
therefore never writes a result again, because its sample is older. If the same sample is submitted again later, its
result replaces the tombstone. The write of a tombstone also notifies subscribers of the deletion.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from storage.documents.result import Status
from storage.documents.statistics import STATISTICS_VERSION
from storage.documents.stored_fields import SERVER_TIME, read_optional_text

MAX_REASON_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Tombstone:
    """The id, the digest, the time and the reason of a deletion."""

    submitter: str
    sample_id: str
    sha256: str
    shard: int
    deleted_at: datetime
    reason: str
    superseded_by: str | None = None
    """The id of the sample that corrected this sample before the deletion."""
    attempt: str = ""
    """A random id of the attempt to delete the sample. The tombstones of two deletions are otherwise equal if both have
    the same reason and read the sample at the same time.
    """

    def fields(self) -> dict[str, object]:
        """Return the fields of the stored document."""
        fields: dict[str, object] = {
            "status": Status.DELETED.value,
            "shard": self.shard,
            "sample_update_time": self.deleted_at,
            "statistics_version": STATISTICS_VERSION,
            "computed_at": SERVER_TIME,
            "sha256": self.sha256,
            "reason": self.reason,
            "attempt": self.attempt,
        }
        return fields if self.superseded_by is None else fields | {"superseded_by": self.superseded_by}

    @classmethod
    def from_fields(cls, submitter: str, sample_id: str, fields: Mapping[str, object]) -> "Tombstone | None":
        """Return the tombstone that is stored as `fields`, or None if the fields describe a result."""
        deleted_at = fields.get("sample_update_time")
        if fields.get("status") != Status.DELETED.value or not isinstance(deleted_at, datetime):
            return None
        shard = fields.get("shard")
        return cls(
            submitter=submitter,
            sample_id=sample_id,
            sha256=str(fields.get("sha256", "")),
            shard=shard if isinstance(shard, int) else 0,
            deleted_at=deleted_at,
            reason=str(fields.get("reason", "")),
            superseded_by=read_optional_text(fields, "superseded_by"),
            attempt=str(fields.get("attempt", "")),
        )
