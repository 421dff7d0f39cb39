"""The documents of the audit: its state, and findings.

The state has the time up to which all samples are checked, and a lease. Only the instance with the lease may run. A
change of the state fails if another instance has changed the state. Two instances therefore do not check the same time.

A finding is a list of samples of one submitter that had no result. It exists until all of these samples have a result.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from storage.documents.stored_fields import read_integer, read_time

MAX_IDS = 500
"""Samples in one finding."""


@dataclass(frozen=True, slots=True)
class AuditState:
    """The state of the audit. `update_time` is the update time of its document, or None if it does not exist yet.

    `checked`, `triggered`, `healed` and `reads` are totals of all runs.
    """

    checked_until: datetime
    leased_until: datetime
    checked: int = 0
    """Samples that were checked."""
    triggered: int = 0
    """Samples for which the function was triggered again."""
    healed: int = 0
    """Samples of findings that had a result at a later check. Earlier releases did not count them."""
    reads: int = 0
    """Reads of documents and index entries, as Firestore bills them."""
    update_time: datetime | None = None

    def fields(self) -> dict[str, object]:
        """Return the fields of the stored document."""
        return {
            "checked_until": self.checked_until,
            "leased_until": self.leased_until,
            "checked": self.checked,
            "triggered": self.triggered,
            "healed": self.healed,
            "reads": self.reads,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, object], update_time: datetime) -> "AuditState":
        """Return the state that is stored as `fields`."""
        return cls(
            read_time(fields, "checked_until"),
            read_time(fields, "leased_until"),
            read_integer(fields, "checked"),
            read_integer(fields, "triggered"),
            read_integer(fields, "healed", 0),
            read_integer(fields, "reads"),
            update_time,
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """Samples of one submitter that had no result at `found_at`. They are checked again at `due_at`.

    `checks` is the number of checks so far. It is stored as `looks`.
    """

    id: str
    submitter: str
    sample_ids: tuple[str, ...]
    found_at: datetime
    due_at: datetime
    checks: int = 1

    @staticmethod
    def id_prefix(start: datetime) -> str:
        """Return the first part of the ids of findings in a window from `start`. It has the order of the times."""
        return f"{start:%Y%m%dT%H%M%S.%f}"

    @property
    def is_alert(self) -> bool:
        """Whether the samples had no result even after the function was triggered again."""
        return self.checks > 1

    def found_again(self, now: datetime) -> "Finding":
        """Return the finding as if it was found now."""
        return replace(self, found_at=now)

    def still_missing(self, sample_ids: Iterable[str], due_at: datetime) -> "Finding":
        """Return the finding after a check that found no results of `sample_ids`."""
        return replace(self, sample_ids=tuple(sample_ids), due_at=due_at, checks=self.checks + 1)

    def fields(self) -> dict[str, object]:
        """Return the fields of the stored document."""
        return {
            "submitter": self.submitter,
            "sample_ids": list(self.sample_ids),
            "found_at": self.found_at,
            "due_at": self.due_at,
            "looks": self.checks,
        }

    @classmethod
    def from_fields(cls, finding_id: str, fields: Mapping[str, object]) -> "Finding":
        """Return the finding that is stored as `fields`."""
        sample_ids = fields["sample_ids"]
        if not isinstance(sample_ids, Iterable):
            raise TypeError(f"expected a list of sample ids, got {sample_ids!r}")
        return cls(
            finding_id,
            str(fields["submitter"]),
            tuple(map(str, sample_ids)),
            read_time(fields, "found_at"),
            read_time(fields, "due_at"),
            read_integer(fields, "looks"),
        )
