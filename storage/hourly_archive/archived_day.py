"""An archived day: the merged statistics of the expired results of a day, for each hour and for the whole day.

A result is either in `results` or in the archive. One Commit moves it. The archive is therefore not a cache like a
rollup: it cannot be built again.

Each day has a document for all results, and a document for each series: the results with exactly the same labels.

This module opens no connection.
"""

from collections.abc import Mapping
from datetime import date, datetime

from storage.documents import Archiving, Labels, labels
from storage.documents.stored_fields import read_optional_time
from storage.rollups.merged_statistics import MergedStatistics
from storage.rollups.rollup import HOUR, Resolution, midnight_of

FORMAT_VERSION = 1
"""The version of the stored form. Later versions must still read archives that earlier versions have stored."""


class ArchivedDay:
    """The archived results of a day: of one series, or of all results if `labels` is None.

    `expire_at` is the time after which Firestore deletes the document. None means never. `update_time` is None if the
    document is not stored yet.
    """

    def __init__(
        self,
        day: date,
        series: Labels | None,
        *,
        hours: Mapping[int, bytes] | None = None,
        total: bytes = b"",
        expire_at: datetime | None = None,
        update_time: datetime | None = None,
    ) -> None:
        self.day = day
        self.labels = series
        self.expire_at = expire_at
        self.update_time = update_time
        self._hours = dict(hours or {})  # in their stored form
        self._total = total
        self._changed: dict[int, MergedStatistics] = {}
        self._changed_total: MergedStatistics | None = None

    def spans(self, resolution: Resolution) -> dict[datetime, MergedStatistics]:
        """Return the statistics of the day, or of each hour that has results, by the start of the day or hour."""
        midnight = midnight_of(self.day)
        if resolution is Resolution.DAY:
            return {midnight: self._sum()}
        return {midnight + hour * HOUR: self._hour(hour) for hour in sorted({*self._hours, *self._changed})}

    def add(self, hours: Mapping[datetime, MergedStatistics], archiving: Archiving) -> None:
        """Add results. The document is kept as long as one of its results must be kept, by its `archiving`."""
        if not self._total and self._changed_total is None:
            self.expire_at = archiving.expire_at
        elif self.expire_at is not None:
            self.expire_at = None if archiving.expire_at is None else max(self.expire_at, archiving.expire_at)
        self._changed_total = self._sum()
        for start, merged in hours.items():
            if start.hour not in self._changed:
                self._changed[start.hour] = self._hour(start.hour)
            self._changed[start.hour].merge(merged)
            self._changed_total.merge(merged)

    def fields(self) -> dict[str, object]:
        """Return the fields of the stored document."""
        changed = {hour: merged.encode() for hour, merged in self._changed.items()}
        fields: dict[str, object] = {
            "format_version": FORMAT_VERSION,
            "hours": {str(hour): stored for hour, stored in {**self._hours, **changed}.items()},
            "total": self._total if self._changed_total is None else self._changed_total.encode(),
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
        """Return the day that is stored as `fields`. Only one of the fields `hours` and `total` may have been read.

        Raises `ValueError` if a later release has stored the document.
        """
        hours, total = fields.get("hours", {}), fields.get("total", b"")
        if fields["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"expected format version {FORMAT_VERSION} of the hourly archive of {day}, got "
                f"{fields['format_version']}; use the release that has written it, or a later one"
            )
        if not isinstance(hours, Mapping) or not isinstance(total, bytes):
            raise TypeError(f"expected hours by number and a total, got {hours!r} and {total!r}")
        return cls(
            day,
            labels.from_fields(fields) if is_series else None,
            hours={int(hour): stored for hour, stored in hours.items()},
            total=total,
            expire_at=read_optional_time(fields, "expire_at"),
            update_time=update_time,
        )

    def _sum(self) -> MergedStatistics:
        if self._changed_total is not None:
            return self._changed_total
        return MergedStatistics.decode(self._total) if self._total else MergedStatistics()

    def _hour(self, hour: int) -> MergedStatistics:
        if hour in self._changed:
            return self._changed[hour]
        return MergedStatistics.decode(self._hours[hour]) if hour in self._hours else MergedStatistics()
