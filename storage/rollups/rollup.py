"""A rollup: the merged statistics of the results of a day, by the hour of their time stamps.

A rollup is a checked cache. Each hour has the time as of which its statistics are those of its results, and the number
of these results. Readers add the results that were written since, and compare the number of results with a count.

The checkpoint of a submitter has the time as of which all rollups contain all results, up to the time stamp
`covered_until`. An hour before that time stamp that is in no rollup had no results then.

This module opens no connection.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from storage.rollups.merged_statistics import MergedStatistics

HOUR = timedelta(hours=1)
EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)
CHECKPOINT = "checkpoint"
"""The name of the checkpoint. It comes after the name of each day."""

FORMAT_VERSION = 1
"""Increase this number when the stored form of merged statistics changes. All rollups are then built again."""

_EPOCH = datetime.fromtimestamp(0, UTC)
_MICROSECOND = timedelta(microseconds=1)
_AS_OF = struct.Struct("<q")


@dataclass(frozen=True, slots=True)
class RollupHour:
    """The statistics of the results of an hour. None: they must be computed again from the results."""

    as_of: datetime
    statistics: MergedStatistics | None

    def encode(self) -> bytes:
        """Return the stored form."""
        as_of = _AS_OF.pack((self.as_of - _EPOCH) // _MICROSECOND)
        return as_of if self.statistics is None else as_of + self.statistics.encode()

    @classmethod
    def decode(cls, stored: bytes) -> "RollupHour":
        """Return the hour with this stored form."""
        (as_of,) = _AS_OF.unpack_from(stored)
        statistics = MergedStatistics.decode(stored[_AS_OF.size :]) if len(stored) > _AS_OF.size else None
        return cls(_EPOCH + as_of * _MICROSECOND, statistics)


@dataclass(slots=True)
class Rollup:
    """The hours of a day that have results, by their start. `update_time` is None if the rollup is not stored yet."""

    day: date
    hours: dict[datetime, RollupHour] = field(default_factory=dict)
    update_time: datetime | None = None

    @property
    def has_stale_hours(self) -> bool:
        """Whether an hour must be computed again."""
        return any(hour.statistics is None for hour in self.hours.values())

    def fields(self) -> dict[str, object]:
        """Return the fields of the stored document."""
        return {
            "format_version": FORMAT_VERSION,
            "hours": {str(start.hour): hour.encode() for start, hour in self.hours.items()},
            "has_stale_hours": self.has_stale_hours,
        }

    @classmethod
    def from_fields(cls, name: str, fields: Mapping[str, object], update_time: datetime) -> "Rollup":
        """Return the rollup of the day `name` that is stored as `fields`. One of another format has no hours."""
        day, stored = date.fromisoformat(name), fields["hours"]
        if fields["format_version"] != FORMAT_VERSION:
            return cls(day, update_time=update_time)
        if not isinstance(stored, Mapping):
            raise TypeError(f"expected hours by number, got {stored!r}")
        midnight = midnight_of(day)
        hours = {midnight + int(hour) * HOUR: RollupHour.decode(stored[hour]) for hour in sorted(stored, key=int)}
        return cls(day, hours, update_time)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the rollups of a submitter contain. `update_time` is None if the checkpoint is not stored yet.

    `stale_from` is the earliest time stamp at which a rollup can have a stale hour. `compared_at` is the last time at
    which the rollups were compared with the number of results, or None if results were removed since.
    """

    as_of: datetime
    covered_until: datetime = EARLIEST
    stale_from: datetime | None = None
    compared_at: datetime | None = None
    update_time: datetime | None = None

    def fields(self) -> dict[str, object]:
        """Return the fields of the stored document."""
        return {
            "format_version": FORMAT_VERSION,
            "as_of": self.as_of,
            "covered_until": self.covered_until,
            "stale_from": self.stale_from,
            "compared_at": self.compared_at,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, object], update_time: datetime) -> "Checkpoint":
        """Return the checkpoint that is stored as `fields`. One of rollups of another format covers nothing."""
        as_of, covered_until, stale_from, compared_at = (
            fields[name] for name in ("as_of", "covered_until", "stale_from", "compared_at")
        )
        assert isinstance(as_of, datetime)
        assert isinstance(covered_until, datetime)
        if fields["format_version"] != FORMAT_VERSION:
            return cls(as_of, update_time=update_time)
        return cls(
            as_of,
            covered_until,
            stale_from if isinstance(stale_from, datetime) else None,
            compared_at if isinstance(compared_at, datetime) else None,
            update_time,
        )


def hour_of(timestamp: datetime) -> datetime:
    """Return the start of the hour that contains a time stamp."""
    return timestamp.replace(minute=0, second=0, microsecond=0)


def next_hour(start: datetime) -> datetime:
    """Return the end of the hour that starts at `start`. The last hour of the year 9999 ends at `LATEST`."""
    return LATEST if start >= LATEST - HOUR else start + HOUR


def midnight_of(day: date) -> datetime:
    """Return the start of a day in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
