"""The rollups of one day, in documents of bounded size.

A document has the rollups of some series. If it gets too large, some of its series move to a new document. The new
document is written first, and then the earlier document. If a process is killed between the writes, both documents have
the rollup of a series. Readers then use the later statistics of each hour, which are correct.

This module opens no connection.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from storage.rollups.checkpoint import FORMAT_VERSION
from storage.rollups.rollup import Rollup, Snapshot, decode_hours
from storage.rollups.series import Series

MAX_NEW_BYTES = 384 * 2**10
"""A document of this size gets no new series, because it usually grows during the day."""
MAX_BYTES = 768 * 2**10
"""Firestore stores up to 1 MiB in a document. The rollup of one series has up to 500 KiB, and usually about 4 KiB."""
_ENTRY_BYTES = 32

Pause = Callable[[], Awaitable[None]]
"""Lets other work run, if enough was done since the last pause."""


@dataclass(slots=True)
class RollupDocument:
    """A document of a day: its number, its series, and the time of its last write, or None if it is not stored yet.

    A full document gives some of its series to other documents, and gets no new series.
    """

    number: int
    series: set[Series] = field(default_factory=set)
    update_time: datetime | None = None
    bytes: int = 0
    is_full: bool = False

    def add(self, series: Series, size: int) -> None:
        """Add a series whose rollup has `size` bytes."""
        self.series.add(series)
        self.bytes += size


class DayRollups:
    """The rollups of a day by series. Change them, and then write `documents`."""

    def __init__(self, day: date) -> None:
        self.day = day
        self.rollups: dict[Series, Rollup] = {}
        self._stored: list[RollupDocument] = []
        self._changed: set[Series] = set()

    async def add_document(self, number: int, fields: Mapping[str, Any], update_time: datetime, pause: Pause) -> None:
        """Add a stored document. A document of another format counts as empty, and is replaced."""
        if fields["format_version"] != FORMAT_VERSION:
            self._stored.append(RollupDocument(number, update_time=update_time))
            return
        hours, totals = fields["hours"], fields["totals"]
        self._stored.append(RollupDocument(number, set(hours), update_time))
        for series, stored in hours.items():
            await pause()
            rollup = Rollup(dict(decode_hours(self.day, stored)), Snapshot.decode(totals[series]))
            if series in self.rollups:
                self.rollups[series].merge(rollup)
                self._changed.add(series)
            else:
                self.rollups[series] = rollup

    def hours(self) -> Iterator[tuple[tuple[datetime, Series], Snapshot]]:
        """Yield the statistics of each hour and series."""
        for series, rollup in self.rollups.items():
            for hour, snapshot in rollup.hours.items():
                yield (hour, series), snapshot

    def put(self, hour: datetime, series: Series, snapshot: Snapshot) -> None:
        """Set the statistics of an hour of a series."""
        if series not in self.rollups:
            self.rollups[series] = Rollup({})
        self.rollups[series].put(hour, snapshot)
        self._changed.add(series)

    def remove(self, hour: datetime, series: Series) -> None:
        """Remove an hour of a series. A series without hours has no rollup."""
        rollup = self.rollups.get(series)
        if rollup is not None and hour in rollup.hours:
            rollup.remove(hour)
            self._changed.add(series)
            if not rollup.hours:
                del self.rollups[series]

    @property
    def is_changed(self) -> bool:
        """Whether documents must be written."""
        return bool(self._changed)

    async def documents(self, pause: Pause) -> list[list[RollupDocument]]:
        """Return the changed documents. Each list must be written before the next one.

        The first list has the documents that lose no series. Each further list has one document that loses series to
        documents in earlier lists.
        """
        sizes: dict[Series, int] = {}
        for series, rollup in self.rollups.items():
            await pause()
            sizes[series] = len(rollup.encode_hours()) + len(rollup.total().encode()) + 2 * len(series) + _ENTRY_BYTES
        written: list[list[RollupDocument]] = [[]]
        stored = {each.number: each.series for each in self._stored}
        for document in self._packed(sizes):
            earlier = stored.get(document.number, set())
            if document.series != earlier or document.series & self._changed:
                if earlier & (sizes.keys() - document.series):
                    written.append([document])
                else:
                    written[0].append(document)
        return written

    def fields(self, document: RollupDocument) -> dict[str, object]:
        """Return the stored form of a document."""
        rollups = {each: self.rollups[each] for each in sorted(document.series)}
        return {
            "format_version": FORMAT_VERSION,
            "hours": {series: rollup.encode_hours() for series, rollup in rollups.items()},
            "totals": {series: rollup.total().encode() for series, rollup in rollups.items()},
            "has_stale_hours": any(rollup.has_stale_hours for rollup in rollups.values()),
        }

    def _packed(self, sizes: Mapping[Series, int]) -> list[RollupDocument]:
        """Return all documents, with each series in one of them, in the order of their numbers.

        `sizes` are the bytes of the rollup of each series.
        """
        remaining = sizes.keys() - set()
        documents: list[RollupDocument] = []
        for stored in self._stored:
            document = RollupDocument(stored.number, update_time=stored.update_time)
            documents.append(document)
            own = sorted(stored.series & remaining)
            document.is_full = sum(map(sizes.__getitem__, own)) > MAX_BYTES
            for series in own:
                if not document.is_full or not document.series or document.bytes + sizes[series] <= MAX_BYTES // 2:
                    document.add(series, sizes[series])
                    remaining.remove(series)
        for series in sorted(remaining):
            size = sizes[series]
            new = RollupDocument(max((each.number for each in documents), default=-1) + 1)
            with_space = [
                each
                for each in documents
                if not each.is_full and (not each.series or each.bytes + size <= MAX_NEW_BYTES)
            ]
            if not with_space:
                documents.append(new)
            min(with_space, key=lambda each: each.bytes, default=new).add(series, size)
        return documents
