"""Failed attempts: how often the function failed for a sample that is PENDING, and why.

On one machine, the event delivery of `infra/embedded` stores them. Google Cloud does not report failed attempts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class FailedAttempts:
    """The failed attempts to compute a sample, up to the write of the document at `updated_at`."""

    count: int
    problem: str
    """The problem of the last attempt."""
    updated_at: datetime

    @classmethod
    def from_fields(cls, fields: Mapping[str, object], updated_at: datetime) -> "FailedAttempts":
        """Return the failed attempts that are stored as `fields`. Raises `KeyError` or `ValueError`."""
        return cls(int(str(fields["attempts"])), str(fields["problem"]), updated_at)
