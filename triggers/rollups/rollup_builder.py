"""Builds the rollups of a submitter: adds new results, and computes hours again if their results were changed.

A run has these steps. Each step stores its progress:

1. Add the results after the checkpoint to the hours of their time stamps, in parts in the order of their writes. After
   the last part, an hour with fewer results than expected becomes stale: a result was replaced or removed.
2. Compute stale hours from their results.
3. When rollups are built for the first time, extend them part by part to results with later time stamps.
4. If results were removed, and once a day, compare all rollups with the number of results. If the numbers differ,
   divide the range of time into halves to find the hours that differ.

A run may stop at any time, for example because the process is killed. Every write fails if the document was changed
after it was read. A rollup is valid as soon as it is written, even if the checkpoint is not written. The next run can
therefore repeat any step.
"""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

from storage.firestore.client import Firestore
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from storage.rollups.checkpoint import Checkpoint
from storage.rollups.checkpoint_store import CheckpointStore
from storage.rollups.day_rollups import DayRollups
from storage.rollups.later_results import READ_MARGIN, Key, joined_ranges
from storage.rollups.merged_statistics import MergedStatistics
from storage.rollups.result_queries import ResultQueries, add_result, timestamp_of
from storage.rollups.rollup import EARLIEST, HOUR, LATEST, Resolution, Snapshot, end_of, midnight_of
from storage.rollups.rollup_store import RollupStore
from storage.rollups.series import BY_SERIES, MAX_SERIES, TOTAL
from triggers.rollups import workload
from triggers.rollups.day_updates import DayUpdates
from triggers.rollups.report import Report
from triggers.rollups.workload import Workload
from triggers.schedules.event_pause import EventPause

MIN_RESULTS = 2_000
"""A submitter with fewer results has no rollups. Reading 2,000 results takes less than a second."""
COMPARISON_INTERVAL = timedelta(days=1)
"""The time between two comparisons. Only a comparison detects that Firestore has deleted expired results."""
_MAX_DAYS = 50
_MAX_SNAPSHOTS = 5_000
"""Fewer days are changed together if they can have more snapshots. With 1,900 bins each, 5,000 snapshots use 28 MiB."""


class RollupBuilder:
    """Builds the rollups of one submitter until `deadline`, a time of `time.monotonic`. Belongs to one event loop.

    Each method raises `Unavailable` or `FirestoreError`, and `PreconditionFailed` if another instance makes changes.
    """

    def __init__(
        self,
        firestore: Firestore,
        writer: GroupCommitWriter,
        submitter: str,
        *,
        shards: int,
        deadline: float,
        min_results: int = MIN_RESULTS,
    ) -> None:
        self._firestore = firestore
        self._writer = writer
        self._queries = ResultQueries(firestore, submitter, shards=shards)
        self._workload = Workload(self._queries)
        self._checkpoints = CheckpointStore(firestore, submitter)
        self._total = RollupStore(firestore, submitter, TOTAL)
        self._by_series = RollupStore(firestore, submitter, BY_SERIES)
        self._deadline = deadline
        self._min_results = min_results
        self._pause = EventPause()
        self._checkpoint: Checkpoint
        self._stores: Sequence[RollupStore]
        self._days: DayUpdates

    async def run(self, report: Report) -> None:
        """Update the rollups, and add the work to `report`."""
        checkpoint = await self._checkpoints.read()
        if checkpoint is None:
            if await self._queries.count_up_to(self._min_results) < self._min_results:
                return
            checkpoint = Checkpoint(await self._firestore.now())
        self._checkpoint = checkpoint
        await self._choose_kinds()
        if await self._workload.must_wait(self._checkpoint.as_of, await self._firestore.now()):
            report.is_finished = False
            return
        steps = (self._add_changes, self._compute_stale_hours, self._extend, self._compare, self._compute_stale_hours)
        for step in steps:
            while await step(report):
                if time.monotonic() >= self._deadline:
                    report.is_finished = False
                    return

    async def _choose_kinds(self) -> None:
        """Build rollups of series, unless there are too many. If none were built before, build all rollups again."""
        checkpoint = self._checkpoint
        series = await self._queries.count_series(MAX_SERIES + 1)
        has_series = series <= MAX_SERIES
        if has_series and not checkpoint.has_series:
            await self._save(has_series=True, covered_until=EARLIEST, stale_from=None, compared_at=None)
        elif checkpoint.has_series != has_series or checkpoint.covered_until == EARLIEST:
            await self._save(has_series=has_series)  # the stored one, if any, can have another format
        self._stores = [self._total, self._by_series] if has_series else [self._total]
        max_days = max(1, min(_MAX_DAYS, _MAX_SNAPSHOTS // (24 * (series + 1)))) if has_series else _MAX_DAYS
        self._days = DayUpdates(self._writer, self._queries, self._stores, self._pause, max_days=max_days)

    async def _save(self, **changes: Any) -> None:
        self._checkpoint = await self._checkpoints.write(self._writer, replace(self._checkpoint, **changes))

    async def _add_changes(self, report: Report) -> bool:
        """Add the results after the checkpoint, those that were written first. Return whether more can follow."""
        first, now = self._checkpoint, await self._firestore.now()
        since = first.as_of - READ_MARGIN
        if not await self._queries.count_changes(since, now, is_computed=False):
            return False  # do not write the checkpoint, so that a submitter without new results costs no write
        if await self._workload.needs_rebuild(since, now):
            await self._save(as_of=now, covered_until=EARLIEST, stale_from=None, compared_at=None)
            return False
        while True:
            until = await self._workload.end_of_changes(self._checkpoint.as_of, now)
            results, hours, stale = await self._days.add_changes(self._checkpoint, until, now)
            report.results += results
            report.hours += hours
            stale_from = min([*stale, self._checkpoint.stale_from or LATEST])
            progress = {"as_of": until, "stale_from": None if stale_from == LATEST else stale_from}
            if until == now:
                break
            await self._save(**progress, compared_at=None)
            if time.monotonic() >= self._deadline:
                return True
            now = await self._firestore.now()
        compared_at = None if await self._workload.has_removed(since, now) else first.compared_at
        await self._save(**progress, compared_at=compared_at)
        return False

    async def _compute_stale_hours(self, report: Report) -> bool:
        """Compute the stale hours of some days. Return whether more stale hours can follow."""
        start, covered_until = self._checkpoint.stale_from, self._checkpoint.covered_until
        if start == LATEST:  # no hour starts at this time
            await self._save(stale_from=None)
            return False
        if start is None or start >= covered_until:
            return False
        now = await self._firestore.now()
        days = sorted(
            {
                day
                for store in self._stores
                for day, has_stale_hours in (await store.days(start, covered_until, now)).items()
                if has_stale_hours and end_of(day) > start
            }
        )
        if not days:
            await self._save(stale_from=None)
            return False
        read = report.results
        for day in days:
            stored = [(await each.read(day, day, now, self._pause)).get(day, DayRollups(day)) for each in self._stores]
            snapshots = [dict(each.hours()) for each in stored]
            stale = {hour for each in snapshots for (hour, _), snapshot in each.items() if snapshot.is_stale}
            for first, last in joined_ranges(stale, Resolution.HOUR):
                found = await self._read_hours(first, last, now, report)
                for rollups, earlier, statistics in zip(stored, snapshots, found, strict=True):
                    await self._replace(rollups, earlier, statistics, first, last, now)
            report.hours += len(stale)
            for store, rollups in zip(self._stores, stored, strict=True):
                await store.write(self._writer, [rollups], self._pause)
            start = end_of(day)
            if report.results - read >= workload.MAX_STEP_RESULTS or time.monotonic() >= self._deadline:
                break
        await self._save(stale_from=start)
        return True

    async def _extend(self, report: Report) -> bool:
        """Build the rollups of the results with the next time stamps. Return whether more results can follow."""
        covered_until = self._checkpoint.covered_until
        if covered_until == LATEST:
            return False
        now = await self._firestore.now()
        earliest = await self._queries.earliest(covered_until, now)
        if earliest is None:
            await self._save(covered_until=LATEST)
            return False
        start = Resolution.HOUR.start_of(earliest)
        end = await self._workload.end_of_part(start, now)
        found = await self._read_hours(start, end, now, report)
        report.hours += len({hour for hour, _ in found[0]})
        for store, statistics in zip(self._stores, found, strict=True):
            by_day: dict[date, dict[Key, MergedStatistics]] = defaultdict(dict)
            for key, merged in statistics.items():
                by_day[key[0].date()][key] = merged
            days = await store.read(start.date(), (end - HOUR).date(), now, self._pause)
            for day in {*days, *by_day}:
                rollups = days.setdefault(day, DayRollups(day))
                await self._replace(rollups, dict(rollups.hours()), by_day[day], covered_until, LATEST, now)
            await store.write(self._writer, list(days.values()), self._pause)
        await self._save(covered_until=end)
        return True

    async def _replace(
        self,
        rollups: DayRollups,
        earlier: Mapping[Key, Snapshot],
        statistics: Mapping[Key, MergedStatistics],
        start: datetime,
        end: datetime,
        now: datetime,
    ) -> None:
        """Replace the hours of a day that are in a range."""
        first, last = max(start, midnight_of(rollups.day)), min(end, end_of(rollups.day))
        for hour, series in earlier:
            if first <= hour < last and (hour, series) not in statistics:
                rollups.remove(hour, series)
        for (hour, series), merged in statistics.items():
            if first <= hour < last:
                await self._pause()
                rollups.put(hour, series, Snapshot.of(now, merged))

    async def _compare(self, report: Report) -> bool:
        """Compare the rollups with the number of results, if a comparison is due. Hours that differ become stale."""
        checkpoint, now = self._checkpoint, await self._firestore.now()
        is_complete = checkpoint.covered_until == LATEST and checkpoint.stale_from is None
        is_recent = checkpoint.compared_at is not None and now - checkpoint.compared_at < COMPARISON_INTERVAL
        if not is_complete or is_recent:
            return False
        hours, stale = await self._days.compare(checkpoint, now)
        report.hours += hours
        await self._save(compared_at=now, stale_from=min(stale, default=None))
        return False

    async def _read_hours(
        self, start: datetime, end: datetime, read_time: datetime, report: Report
    ) -> list[dict[Key, MergedStatistics]]:
        """Return the statistics of the results with time stamps in a range, for each kind, by hour and series."""
        found: list[dict[Key, MergedStatistics]] = [defaultdict(MergedStatistics) for _ in self._stores]
        async with aclosing(self._queries.results(start, end, read_time)) as batches:
            async for documents in batches:
                report.results += len(documents)
                for document in documents:
                    await self._pause()
                    hour = Resolution.HOUR.start_of(timestamp_of(document))
                    for store, statistics in zip(self._stores, found, strict=True):
                        add_result(statistics[hour, store.kind.series_of(document)], document)
        return found
