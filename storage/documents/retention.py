"""Retention: how long the samples and the results of a submitter are kept.

The API stores the time at which a document expires in its field `expire_at`. Firestore deletes the document some time
later (time to live). A change of the retention therefore applies to samples that are submitted afterwards.

A result is kept at least as long as its sample. Otherwise, a sample whose result has expired would look like a sample
that the function has not computed.

Hourly statistics can be kept longer than the results. Firestore then does not delete an expired result. Instead, the
function moves the result into the hourly archive some time later.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from storage.documents.errors import BadRequest
from storage.documents.stored_fields import read_integer, read_optional_time

MIN_DAYS = 1
MAX_DAYS = 36_500


class Archiving(NamedTuple):
    """An expired result is moved into the hourly archive, and kept there until `expire_at`. None means forever."""

    expire_at: datetime | None = None

    def fields(self) -> dict[str, object]:
        """Return the fields of the stored header or result."""
        return {"archiving": {"expire_at": self.expire_at}}

    @classmethod
    def from_fields(cls, fields: Mapping[str, object]) -> "Archiving | None":
        """Return the archiving that is stored in the fields of a header or a result, or None."""
        archiving = fields.get("archiving")
        if not isinstance(archiving, Mapping):
            return None
        return cls(read_optional_time(archiving, "expire_at"))


class Expiry(NamedTuple):
    """The times at which a sample and its result expire. None means never.

    Without `archiving`, the result is deleted.
    """

    sample: datetime | None = None
    result: datetime | None = None
    archiving: Archiving | None = None


@dataclass(frozen=True, slots=True)
class HourlyRetention:
    """The number of days for which hourly statistics are kept. None means forever."""

    days: int | None = None


@dataclass(frozen=True, slots=True)
class Retention:
    """The numbers of days for which samples (with their chunks) and results are kept. None means forever.

    `hourly` is the retention of hourly statistics, or None if they are deleted with the results.
    """

    sample_days: int | None = None
    result_days: int | None = None
    hourly: HourlyRetention | None = None

    def check(self) -> None:
        """Raise `BadRequest` if this retention is not allowed."""
        hourly_days = None if self.hourly is None else self.hourly.days
        for name, days in (
            ("sampleDays", self.sample_days),
            ("resultDays", self.result_days),
            ("hourly.days", hourly_days),
        ):
            if days is not None and not MIN_DAYS <= days <= MAX_DAYS:
                raise BadRequest(
                    f"expected a number of days from {MIN_DAYS} to {MAX_DAYS:,}, got {days:,} - at `{name}`"
                )
        if self.result_days is not None and (self.sample_days is None or self.sample_days > self.result_days):
            raise BadRequest("expected results to be kept at least as long as samples - at `resultDays`")
        if self.hourly is not None and self.result_days is None:
            raise BadRequest(
                "expected a number of days at `resultDays`, or no value at `hourly`: hourly statistics are kept after "
                "results have expired, and these results never expire"
            )
        if hourly_days is not None and self.result_days is not None and hourly_days <= self.result_days:
            raise BadRequest("expected hourly statistics to be kept longer than results - at `hourly.days`")

    def expiry(self, submitted_at: datetime) -> Expiry:
        """Return the expiry of a sample that is submitted at this time, of its result, and of its archived values."""
        return Expiry(
            _after(submitted_at, self.sample_days),
            _after(submitted_at, self.result_days),
            None if self.hourly is None else Archiving(_after(submitted_at, self.hourly.days)),
        )

    def __str__(self) -> str:
        described = f"samples {_described(self.sample_days)}, results {_described(self.result_days)}"
        return described if self.hourly is None else f"{described}, hourly statistics {_described(self.hourly.days)}"

    def fields(self) -> dict[str, object]:
        """Return the fields of the stored document."""
        hourly = None if self.hourly is None else {"days": self.hourly.days}
        return {"sample_days": self.sample_days, "result_days": self.result_days, "hourly": hourly}

    @classmethod
    def from_fields(cls, fields: Mapping[str, object]) -> "Retention | None":
        """Return the retention that is stored as `fields`, or None if the submitter has the default."""
        if "sample_days" not in fields:
            return None
        hourly = fields.get("hourly")
        return cls(
            _days(fields, "sample_days"),
            _days(fields, "result_days"),
            HourlyRetention(_days(hourly, "days")) if isinstance(hourly, Mapping) else None,
        )


def has_expired(expire_at: object, now: datetime) -> bool:
    """Return whether a time of expiry is not after `now`, a time of Firestore's clock. None means never."""
    return isinstance(expire_at, datetime) and expire_at <= now


def _days(fields: Mapping[str, object], name: str) -> int | None:
    return None if fields.get(name) is None else read_integer(fields, name)


def _described(days: int | None) -> str:
    return "forever" if days is None else f"for {days:,} days"


def _after(time: datetime, days: int | None) -> datetime | None:
    return None if days is None else time + timedelta(days=days)
