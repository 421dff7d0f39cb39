"""Updates of the rollups of single days: adds results, and marks hours that must be computed again as stale."""

from bisect import bisect
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from datetime import date, datetime
from itertools import chain
from typing import Any

from storage.firestore import encoding
from storage.firestore.group_commit_writer import GroupCommitWriter
from storage.rollups.checkpoint import Checkpoint
from storage.rollups.day_rollups import DayRollups, Pause
from storage.rollups.later_results import Key, LaterResults, Verified, changes_since, verify
from storage.rollups.result_queries import ResultQueries, timestamp_of
from storage.rollups.rollup import EARLIEST, Resolution, Snapshot, end_of, midnight_of
from storage.rollups.rollup_store import RollupStore


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

    async def add_changes(
        self, checkpoint: Checkpoint, until: datetime, now: datetime
    ) -> tuple[int, int, set[datetime]]:
        """Add the results that were written after the checkpoint, up to `until`, to the rollups of their days.

        Return the number of results, the number of changed hours, and the hours that are stale now. An hour is stale
        if a result was replaced or removed.
        """
        later = await self._later_results(checkpoint, until)
        hours, stale = await self._update(sorted(later), later, checkpoint, until, now)
        return sum(map(len, later.values())), hours, stale

    async def compare(self, checkpoint: Checkpoint, now: datetime) -> tuple[int, set[datetime]]:
        """Compare all rollups with the number of results. Update the days that differ, as `add_changes` does.

        Return the number of changed hours, and the hours that are stale now.
        """
        days: set[date] = set()
        for store in self._stores:
            days |= await self._different_days(store, checkpoint, now)
        later = await self._later_results(checkpoint, now)
        return await self._update(sorted(days), later, checkpoint, now, now)

    async def _later_results(self, checkpoint: Checkpoint, until: datetime) -> Mapping[date, Sequence[Any]]:
        """Return the results that were written after the checkpoint, up to `until`, by day."""
        found: dict[date, list[Any]] = defaultdict(list)
        async with aclosing(
            changes_since(self._queries, checkpoint, EARLIEST, checkpoint.covered_until, until)
        ) as batches:
            async for documents in batches:
                for document in documents:
                    await self._pause()
                    if encoding.to_datetime(document.update_time) > checkpoint.as_of:
                        found[timestamp_of(document).date()].append(document)
        return found

    async def _different_days(self, store: RollupStore, checkpoint: Checkpoint, now: datetime) -> set[date]:
        """Return the days whose rollups have, or may have, another number of results than the day."""
        found: set[date] = set()
        start, end = EARLIEST, Resolution.DAY.start_of(checkpoint.covered_until)
        windows = store.windows(start, end, now, Resolution.DAY, self._pause, lambda _: True)
        async with aclosing(windows):
            async for window in windows:
                later = LaterResults(checkpoint, window.snapshots, Resolution.DAY)
                async with aclosing(changes_since(self._queries, checkpoint, start, window.end, now)) as batches:
                    async for documents in batches:
                        for document in documents:
                            await self._pause()
                            later.add(document, store.kind.series_of(document))
                verified = await self._verify(window.snapshots, later, Resolution.DAY, now)
                found.update(day.date() for day in verified.unknown | verified.empty)
                start = window.end
        return found

    async def _update(
        self,
        days_to_update: Sequence[date],
        results: Mapping[date, Sequence[Any]],
        checkpoint: Checkpoint,
        until: datetime,
        now: datetime,
    ) -> tuple[int, set[datetime]]:
        """Update the rollups of some days. Return the number of changed hours, and the hours that are stale.

        `results` are all later results by day, as they were at `until`.
        """
        changed, stale = 0, set[datetime]()
        for group in await self._groups(days_to_update, now):
            first, last = group[0], group[-1]
            start, end = midnight_of(first), min(end_of(last), checkpoint.covered_until)
            days = [await each.read(first, last, now, self._pause) for each in self._stores]
            snapshots = [
                {key: snapshot for each in found.values() for key, snapshot in each.hours() if start <= key[0] < end}
                for found in days
            ]
            later = [LaterResults(checkpoint, each, Resolution.HOUR) for each in snapshots]
            for document in chain.from_iterable(each for day, each in results.items() if first <= day <= last):
                await self._pause()
                for store, each in zip(self._stores, later, strict=True):
                    each.add(document, store.kind.series_of(document))
            changed += len({hour for hour, _ in later[0].statistics})
            for store, rollups, known, added in zip(self._stores, days, snapshots, later, strict=True):
                stale |= await self._write(store, rollups, known, added, until)
        return changed, stale

    async def _groups(self, days: Sequence[date], now: datetime) -> Sequence[Sequence[date]]:
        """Divide days into groups of up to `max_days`, with up to `max_days` stored days from the first to the last."""
        if not days or (days[-1] - days[0]).days < self._max_days:
            return [days] if days else []
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
        return groups

    async def _write(
        self,
        store: RollupStore,
        days: dict[date, DayRollups],
        snapshots: Mapping[Key, Snapshot],
        later: LaterResults,
        until: datetime,
    ) -> set[datetime]:
        """Write days with later results. Return the hours that are stale now.

        An hour that was written with results after `until` is left as it is: it was computed from its results since,
        or another instance has already added results that this instance does not know.
        """
        newer = {hour for (hour, _), snapshot in snapshots.items() if snapshot.as_of > until}
        later.unusable |= newer
        verified = await self._verify(snapshots, later, Resolution.HOUR, until)
        for hour, series in {*snapshots, *later.statistics}:
            await self._pause()
            if hour in newer:
                continue
            key = hour, series
            day = days.setdefault(hour.date(), DayRollups(hour.date()))
            if hour in verified.empty:
                day.remove(hour, series)
            elif hour in verified.unknown:
                if key not in snapshots or not snapshots[key].is_stale:
                    day.put(hour, series, Snapshot(until))
            elif key in later.statistics:
                merged = later.statistics[key]
                if key in snapshots:
                    merged.merge(snapshots[key].statistics())
                day.put(hour, series, Snapshot.of(until, merged))
        await store.write(self._writer, list(days.values()), self._pause)
        return verified.unknown - newer

    async def _verify(
        self, snapshots: Mapping[Key, Snapshot], later: LaterResults, resolution: Resolution, now: datetime
    ) -> Verified:
        async def count(start: datetime, end: datetime) -> int:
            return await self._queries.count(start, end, now)

        return await verify(count, snapshots, later, resolution, self._pause)
