"""Retention: how long the samples and the results of a submitter are kept.

The API stores the time at which a document expires in its field `expire_at`. Firestore deletes the document some time
later (time to live). A change of the retention therefore applies to samples that are submitted afterwards.

A result is kept at least as long as its sample. A sample without a result would otherwise look like one that the
function has not computed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from storage.documents.errors import BadRequest

MIN_DAYS = 1
MAX_DAYS = 36_500


class Expiry(NamedTuple):
    """The times at which a sample and its result expire. None: never."""

    sample: datetime | None = None
    result: datetime | None = None


@dataclass(frozen=True, slots=True)
class Retention:
    """The days for which samples, with their chunks, and results are kept. None: for ever."""

    sample_days: int | None = None
    result_days: int | None = None

    def check(self) -> None:
        """Raise `BadRequest` if this retention is not allowed."""
        for name, days in (("sampleDays", self.sample_days), ("resultDays", self.result_days)):
            if days is not None and not MIN_DAYS <= days <= MAX_DAYS:
                raise BadRequest(
                    f"expected a number of days from {MIN_DAYS} to {MAX_DAYS:,}, got {days:,} - at `{name}`"
                )
        if self.result_days is not None and (self.sample_days is None or self.sample_days > self.result_days):
            raise BadRequest("expected results to be kept at least as long as samples - at `resultDays`")

    def expiry(self, submitted_at: datetime) -> Expiry:
        """Return when a sample that is submitted at this time, and its result, expire."""
        return Expiry(_after(submitted_at, self.sample_days), _after(submitted_at, self.result_days))

    def __str__(self) -> str:
        return f"samples {_described(self.sample_days)}, results {_described(self.result_days)}"

    def fields(self) -> dict[str, object]:
        """Return the fields of the stored document."""
        return {"sample_days": self.sample_days, "result_days": self.result_days}

    @classmethod
    def from_fields(cls, fields: Mapping[str, object]) -> "Retention | None":
        """Return the retention that is stored as `fields`, or None if the submitter has the default."""
        if "sample_days" not in fields:
            return None
        sample_days, result_days = (
            None if fields.get(name) is None else int(str(fields[name])) for name in ("sample_days", "result_days")
        )
        return cls(sample_days, result_days)


def _described(days: int | None) -> str:
    return "for ever" if days is None else f"for {days:,} days"


def _after(time: datetime, days: int | None) -> datetime | None:
    return None if days is None else time + timedelta(days=days)
