"""Updates of the rollups of single days: adds results, and marks hours that must be computed again as stale."""

from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from datetime import date, datetime
from itertools import chain
from typing import NamedTuple

from storage.firestore.messages import Document
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from storage.rollups.checkpoint import Checkpoint
from storage.rollups.day_rollups import DayRollups, Pause
from storage.rollups.later_results import READ_MARGIN, Key, LaterResults, VerifiedSpans, changes_since, verify_spans
from storage.rollups.result_queries import ResultQueries, timestamp_of
from storage.rollups.rollup import EARLIEST, LATEST, Resolution, Snapshot, end_of, midnight_of
from storage.rollups.rollup_store import RollupStore

MAX_RESULTS = 5_000
"""The approximate number of results that are added before rollups are stored. A day is never divided."""


class _Changes(NamedTuple):
    """The results that were written after `checkpoint`, up to the time `until`. They are read as they are at `now`."""

    checkpoint: Checkpoint
    until: datetime
    now: datetime

    @property
    def are_complete(self) -> bool:
        """Whether no later results exist at `now`. Only then, replaced and removed results can be found by counts."""
        return self.until == self.now


class DayUpdates:
    """Reads and writes the rollups of one submitter, of one or more kinds. At most `max_days` are in memory.

    Each method raises `Unavailable` or `FirestoreError`, and `PreconditionFailed` if another instance makes changes.
    """

    def __init__(
        self,
        writer: GroupCommitWriter,
        queries: ResultQueries,
        stores: Sequence[RollupStore],
        pause: Pause,
        *,
        max_days: int,
    ) -> None:
        self._writer = writer
        self._queries = queries
        self._stores = stores
        self._pause = pause
        self._max_days = max_days
        self._unverified: set[date] = set()

    async def add_changes(
        self, checkpoint: Checkpoint, until: datetime, now: datetime
    ) -> tuple[int, int, set[datetime]]:
        """Add the results that were written after the checkpoint, up to the time `until`, to the rollups of their days.

        Return the number of results, the number of changed hours, and the hours that are stale now. An hour is stale
        if a result was replaced or removed. This is known only if `until` is `now`. It is then found for the days of
        earlier calls too.
        """
        changes = _Changes(checkpoint, until, now)
        results = await self._changes_by_day(changes)
        self._unverified |= results.keys()
        if changes.are_complete:
            results = {**dict.fromkeys(self._unverified, 0), **results}
            self._unverified.clear()
        hours, stale = await self._update(results, changes)
        return sum(results.values()), hours, stale

    async def compare(self, checkpoint: Checkpoint, now: datetime) -> tuple[int, set[datetime]]:
        """Compare all rollups with the number of results. Update the days that differ, as `add_changes` does.

        The checkpoint must cover all time stamps, because a day that is covered in part always differs.
        Return the number of changed hours, and the hours that are stale now.
        """
        changes = _Changes(checkpoint, now, now)
        days: set[date] = set()
        for store in self._stores:
            days |= await self._different_days(store, changes)
        return await self._update(dict.fromkeys(days, 0), changes)

    async def _changes_by_day(self, changes: _Changes) -> Mapping[date, int]:
        """Return the number of changes by day."""
        found = Counter[date]()
        checkpoint, until, now = changes
        since, end = checkpoint.as_of - READ_MARGIN, checkpoint.covered_until
        async with aclosing(self._queries.changes(since, EARLIEST, end, now, select=(), until=until)) as batches:
            async for documents in batches:
                for document in documents:
                    await self._pause()
                    found[timestamp_of(document).date()] += 1
        return found

    async def _different_days(self, store: RollupStore, changes: _Changes) -> set[date]:
        """Return the days whose rollups have, or may have, a wrong number of results."""
        found: set[date] = set()
        start, now = EARLIEST, changes.now
        windows = store.windows(start, LATEST, now, Resolution.DAY, self._pause, lambda _: True)
        async with aclosing(windows):
            async for window in windows:
                later = LaterResults(changes.checkpoint, window.snapshots, Resolution.DAY)
                await self._add_changes([store], [later], start, window.end, changes)
                verified = await self._verify(window.snapshots, later, Resolution.DAY, now)
                found.update(day.date() for day in verified.unusable | verified.empty)
                start = window.end
        return found

    async def _update(self, results: Mapping[date, int], changes: _Changes) -> tuple[int, set[datetime]]:
        """Update the rollups of some days. Return the number of changed hours, and the hours that are stale.

        `results` are the numbers of changes by day.
        """
        changed, stale = 0, set[datetime]()
        for part in _parts(results):
            groups = await self._groups(part, changes.now)
            # One query for each group would read all changes again and again if the days are far apart.
            loaded = await self._load(part[0], part[-1], changes) if len(groups) > 1 else None
            for first, last in groups:
                hours, found = await self._update_group(first, last, loaded, changes)
                changed += hours
                stale |= found
        return changed, stale

    async def _update_group(
        self, first: date, last: date, loaded: Mapping[date, Sequence[Document]] | None, changes: _Changes
    ) -> tuple[int, set[datetime]]:
        """Update the days from `first` to `last`. Read their changes, unless they are loaded."""
        start, end = midnight_of(first), min(end_of(last), changes.checkpoint.covered_until)
        days = [await each.read(first, last, changes.now, self._pause) for each in self._stores]
        snapshots = [
            {key: snapshot for each in found.values() for key, snapshot in each.hours() if start <= key[0] < end}
            for found in days
        ]
        later = [LaterResults(changes.checkpoint, each, Resolution.HOUR, changes.until) for each in snapshots]
        if loaded is None:
            await self._add_changes(self._stores, later, start, end, changes)
        else:
            documents = (each for day, each in loaded.items() if first <= day <= last)
            await self._add(self._stores, later, chain.from_iterable(documents))
        stale: set[datetime] = set()
        for store, rollups, earlier, added in zip(self._stores, days, snapshots, later, strict=True):
            stale |= await self._write(store, rollups, earlier, added, changes)
        return len({hour for hour, _ in later[0].statistics}), stale

    async def _load(self, first: date, last: date, changes: _Changes) -> dict[date, list[Document]]:
        """Return the changes with a time stamp from one day to another, by day."""
        found: dict[date, list[Document]] = defaultdict(list)
        end = min(end_of(last), changes.checkpoint.covered_until)
        async with aclosing(self._read(midnight_of(first), end, changes)) as batches:
            async for documents in batches:
                for document in documents:
                    await self._pause()
                    found[timestamp_of(document).date()].append(document)
        return found

    async def _add_changes(
        self,
        stores: Sequence[RollupStore],
        later: Sequence[LaterResults],
        start: datetime,
        end: datetime,
        changes: _Changes,
    ) -> None:
        """Add the changes with a time stamp in a range to the later results of each store."""
        async with aclosing(self._read(start, end, changes)) as batches:
            async for documents in batches:
                await self._add(stores, later, documents)

    def _read(self, start: datetime, end: datetime, changes: _Changes) -> AsyncGenerator[Sequence[Document], None]:
        """Yield the changes with a time stamp in a range, in batches."""
        return changes_since(self._queries, changes.checkpoint, start, end, changes.now, changes.until)

    async def _add(
        self, stores: Sequence[RollupStore], later: Sequence[LaterResults], documents: Iterable[Document]
    ) -> None:
        for document in documents:
            await self._pause()
            for store, each in zip(stores, later, strict=True):
                each.add(document, store.kind.series_of(document))

    async def _groups(self, days: Sequence[date], now: datetime) -> Sequence[tuple[date, date]]:
        """Return the first and the last day of each group of days.

        A group has up to `max_days` days, and up to `max_days` stored days from the first to the last.
        """
        if (days[-1] - days[0]).days < self._max_days:
            return [(days[0], days[-1])]
        stored: set[date] = set()
        for store in self._stores:
            stored |= (await store.days(midnight_of(days[0]), end_of(days[-1]), now)).keys()
        ordered = sorted(stored)
        groups, first = [[days[0]]], bisect(ordered, days[0])
        for day in days[1:]:
            position = bisect(ordered, day)
            if len(groups[-1]) >= self._max_days or position - first >= self._max_days:
                groups.append([])
                first = position
            groups[-1].append(day)
        return [(group[0], group[-1]) for group in groups]

    async def _write(
        self,
        store: RollupStore,
        days: dict[date, DayRollups],
        snapshots: Mapping[Key, Snapshot],
        later: LaterResults,
        changes: _Changes,
    ) -> set[datetime]:
        """Write days with later results. Return the hours that are stale now."""
        verified = VerifiedSpans(set(), later.unusable, set())
        if changes.are_complete:
            verified = await self._verify(snapshots, later, Resolution.HOUR, changes.now)
        for hour, series in {*snapshots, *later.statistics}:
            await self._pause()
            key = hour, series
            day = days.setdefault(hour.date(), DayRollups(hour.date()))
            if hour in verified.empty:
                day.remove(hour, series)
            elif hour in verified.unusable:
                if key not in snapshots or not snapshots[key].is_stale:
                    day.put(hour, series, Snapshot(changes.until))
            elif key in later.statistics:
                merged = later.statistics[key]
                if key in snapshots:
                    snapshots[key].add_to(merged)
                day.put(hour, series, Snapshot.of(changes.until, merged))
        await store.write(self._writer, list(days.values()), self._pause)
        return verified.unusable

    async def _verify(
        self, snapshots: Mapping[Key, Snapshot], later: LaterResults, resolution: Resolution, now: datetime
    ) -> VerifiedSpans:
        async def count(start: datetime, end: datetime) -> int:
            return await self._queries.count(start, end, now)

        return await verify_spans(count, snapshots, later, resolution, self._pause)


def _parts(results: Mapping[date, int]) -> Iterator[list[date]]:
    """Yield lists of days in order. The days of a list have a limited number of results. A day is never divided."""
    part: list[date] = []
    size = 0
    for day in sorted(results):
        if part and size + results[day] > MAX_RESULTS:
            yield part
            part, size = [], 0
        part.append(day)
        size += results[day]
    if part:
        yield part
