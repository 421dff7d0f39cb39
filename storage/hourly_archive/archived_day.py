"""An archived day: the merged statistics of expired results of a day, by the hour of their time stamps.

A result is either in `results` or in the archive. It changes places in one Commit. The archive is therefore not a
cache like a rollup: nothing can build it again.

Each day has a document for all results together, and one for each series: the results with exactly the same labels.

This module opens no connection.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from storage.documents import Archiving, Labels, labels
from storage.rollups.merged_statistics import MergedStatistics
from storage.rollups.rollup import HOUR, midnight_of

FORMAT_VERSION = 1
"""The stored form of merged statistics. A later version must still read the archive of earlier ones."""


@dataclass(slots=True)
class ArchivedDay:
    """The hours of a day that have archived results, by their start.

    `labels` are those of the series, or None for all results together. `expire_at` is the time after which Firestore
    deletes the document, or None: never. `update_time` is None if the document is not stored yet.
    """

    day: date
    labels: Labels | None
    hours: dict[datetime, MergedStatistics] = field(default_factory=dict)
    expire_at: datetime | None = None
    update_time: datetime | None = None

    def add(self, hours: Mapping[datetime, MergedStatistics], archiving: Archiving) -> None:
        """Add results that are kept as `archiving` says. The document is kept as long as any of its results."""
        if not self.hours:
            self.expire_at = archiving.expire_at
        elif self.expire_at is not None:
            self.expire_at = None if archiving.expire_at is None else max(self.expire_at, archiving.expire_at)
        for hour, merged in hours.items():
            if hour not in self.hours:
                self.hours[hour] = MergedStatistics()
            self.hours[hour].merge(merged)

    def fields(self) -> dict[str, object]:
        """Return the fields of the stored document."""
        fields: dict[str, object] = {
            "format_version": FORMAT_VERSION,
            "hours": {str(start.hour): merged.encode() for start, merged in sorted(self.hours.items())},
        }
        if self.labels:
            fields |= labels.stored_fields(self.labels)
        if self.expire_at is not None:
            fields["expire_at"] = self.expire_at
        return fields

    @classmethod
    def from_fields(
        cls, day: date, fields: Mapping[str, object], update_time: datetime, *, is_series: bool
    ) -> "ArchivedDay":
        """Return the day that is stored as `fields`. Raises `ValueError` if a later release has stored it."""
        stored, expire_at = fields["hours"], fields.get("expire_at")
        if fields["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"expected format version {FORMAT_VERSION} of the hourly archive of {day}, got "
                f"{fields['format_version']}; use the release that has written it, or a later one"
            )
        if not isinstance(stored, Mapping):
            raise TypeError(f"expected hours by number, got {stored!r}")
        midnight = midnight_of(day)
        return cls(
            day,
            labels.from_fields(fields) if is_series else None,
            {midnight + int(hour) * HOUR: MergedStatistics.decode(stored[hour]) for hour in sorted(stored, key=int)},
            expire_at if isinstance(expire_at, datetime) else None,
            update_time,
        )
