"""A rollup: the merged statistics of the results of a day, for each hour and for the whole day.

A rollup contains all results of a submitter, or the results of one series. A rollup is a cache that readers check. For
each hour, it has a snapshot: the statistics at one time, this time, and the number of results. Readers add the results
that were written after this time. They then compare the number of results with a count.

This module opens no connection.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum

from storage.rollups.merged_statistics import MergedStatistics, results_of

HOUR = timedelta(hours=1)
EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)

_EPOCH = datetime.fromtimestamp(0, UTC)
_MICROSECOND = timedelta(microseconds=1)
_AS_OF = struct.Struct("<q")
_HOUR = struct.Struct("<BI")
"""The number of an hour, and the length of its snapshot in bytes."""


class Resolution(Enum):
    """The length of the spans of time that have statistics."""

    HOUR = "hour"
    DAY = "day"

    def start_of(self, timestamp: datetime) -> datetime:
        """Return the start of the span that contains a time stamp."""
        hour = 0 if self is Resolution.DAY else timestamp.hour
        return timestamp.replace(hour=hour, minute=0, second=0, microsecond=0)

    def end_of(self, start: datetime) -> datetime:
        """Return the end of the span that starts at `start`. The last span of the year 9999 ends at `LATEST`."""
        length = HOUR if self is Resolution.HOUR else timedelta(days=1)
        return LATEST if start >= LATEST - length else start + length

    def whole(self, start: datetime, end: datetime) -> tuple[datetime, datetime]:
        """Return the range of whole spans between two times. It is empty if its start is not before its end."""
        first = self.start_of(start)
        return first if first == start else self.end_of(first), self.start_of(end)

    def parts(self, start: datetime, end: datetime) -> list[tuple[datetime, datetime, "Resolution"]]:
        """Divide a range of whole hours: into whole spans, and into the hours before and after them.

        Each part has a start, an end and a resolution.
        """
        first, last = self.whole(start, end)
        if first >= last:
            first = last = start
        parts = [(start, first, Resolution.HOUR), (first, last, self), (last, end, Resolution.HOUR)]
        return [part for part in parts if part[0] < part[1]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The statistics of results at the time `as_of`, in their stored form. A snapshot without statistics is stale."""

    as_of: datetime
    packed: bytes = b""

    @classmethod
    def of(cls, as_of: datetime, statistics: MergedStatistics) -> "Snapshot":
        """Return a snapshot of statistics."""
        return cls(as_of, statistics.encode())

    @property
    def is_stale(self) -> bool:
        """Whether the statistics must be computed again from the results."""
        return not self.packed

    @property
    def results(self) -> int:
        """The number of results. A stale snapshot has none."""
        return results_of(self.packed) if self.packed else 0

    def statistics(self) -> MergedStatistics:
        """Return the statistics. The snapshot must not be stale."""
        return MergedStatistics.decode(self.packed)

    def add_to(self, merged: MergedStatistics) -> None:
        """Add the results to `merged`. The snapshot must not be stale."""
        merged.merge_stored(self.packed)

    def encode(self) -> bytes:
        """Return the stored form."""
        return _AS_OF.pack((self.as_of - _EPOCH) // _MICROSECOND) + self.packed

    @classmethod
    def decode(cls, stored: bytes) -> "Snapshot":
        """Return the snapshot with this stored form."""
        (as_of,) = _AS_OF.unpack_from(stored)
        return cls(_EPOCH + as_of * _MICROSECOND, stored[_AS_OF.size :])


class Rollup:
    """The snapshots of the hours of a day that have results, by the start of the hour, and their total."""

    __slots__ = ("_total", "hours")

    def __init__(self, hours: dict[datetime, Snapshot], total: Snapshot | None = None) -> None:
        self.hours = hours
        """The snapshots by the start of the hour. Use `put` and `remove` to change them."""
        self._total = total

    def put(self, hour: datetime, snapshot: Snapshot) -> None:
        """Set the statistics of an hour."""
        self.hours[hour] = snapshot
        self._total = None

    def remove(self, hour: datetime) -> None:
        """Remove an hour, which has no results."""
        del self.hours[hour]
        self._total = None

    @property
    def has_stale_hours(self) -> bool:
        """Whether an hour must be computed again."""
        return any(hour.is_stale for hour in self.hours.values())

    def total(self) -> Snapshot:
        """Return the snapshot of the day, with the latest `as_of` of an hour. It is stale if an hour is stale."""
        if self._total is None:
            as_of = max(hour.as_of for hour in self.hours.values())
            if self.has_stale_hours:
                self._total = Snapshot(as_of)
            else:
                merged = MergedStatistics()
                for hour in self.hours.values():
                    hour.add_to(merged)
                self._total = Snapshot.of(as_of, merged)
        return self._total

    def merge(self, other: "Rollup") -> None:
        """Add the hours of another document with the same results. If both have an hour, keep the later statistics."""
        for hour, snapshot in other.hours.items():
            if hour not in self.hours or self.hours[hour].as_of < snapshot.as_of:
                self.put(hour, snapshot)

    def encode_hours(self) -> bytes:
        """Return the stored form of the hours."""
        parts = []
        for start in sorted(self.hours):
            snapshot = self.hours[start].encode()
            parts += [_HOUR.pack(start.hour, len(snapshot)), snapshot]
        return b"".join(parts)


def decode_hours(day: date, stored: bytes) -> Iterator[tuple[datetime, Snapshot]]:
    """Yield the start and the statistics of each hour that `Rollup.encode_hours` has stored."""
    midnight, position = midnight_of(day), 0
    while position < len(stored):
        number, length = _HOUR.unpack_from(stored, position)
        position += _HOUR.size + length
        yield midnight + number * HOUR, Snapshot.decode(stored[position - length : position])


def midnight_of(day: date) -> datetime:
    """Return the start of a day in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def end_of(day: date) -> datetime:
    """Return the end of a day in UTC."""
    return Resolution.DAY.end_of(midnight_of(day))
