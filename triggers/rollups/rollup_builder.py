"""Builds the rollups of a submitter: adds new results, and computes again what has changed otherwise.

A run has these parts, and each stores its progress:

1. Add the results since the checkpoint to the hours of their time stamps. If an hour has fewer results than expected, a
   result was replaced or removed, and the hour becomes stale.
2. Compute stale hours from their results.
3. Extend the rollups to results with later time stamps, which happens once.
4. If results were removed, and once a day, compare all rollups with the number of results, by halves.

A run may end at any time, for example because the process is killed. Every write requires that the document was not
changed since it was read. A rollup is valid from the moment of its write, whether or not the checkpoint follows, so the
next run can repeat any part.
"""

import asyncio
import time
from collections import defaultdict
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from storage.firestore.client import Firestore
from storage.firestore.group_commit_writer import GroupCommitWriter
from storage.rollups.current_hours import MAX_COMMIT_DELAY, ranges
from storage.rollups.merged_statistics import MergedStatistics
from storage.rollups.result_queries import ResultQueries, add_result, timestamp_of
from storage.rollups.rollup import (
    EARLIEST,
    HOUR,
    LATEST,
    Checkpoint,
    Rollup,
    RollupHour,
    hour_of,
    next_hour,
)
from storage.rollups.rollup_store import RollupStore
from triggers.rollups.day_updates import DayUpdates, end_of

MIN_RESULTS = 2_000
"""A submitter with fewer results has no rollups. Reading 2,000 results takes less than a second."""
BUSY_SECONDS = timedelta(seconds=10)
MAX_BUSY_RESULTS = 1_000
"""With more results in `BUSY_SECONDS`, the submitter's rollups wait, so that they do not slow down the function."""
MAX_BUSY_TIME = timedelta(minutes=30)
"""Rollups wait for up to this time."""
MAX_STEP_RESULTS = 20_000
"""About how many results are read before the progress is stored."""
MAX_CHANGES = 500_000
"""If more results are in no rollup, all rollups are built again, in steps. Adding the results has no steps."""
COMPARISON_INTERVAL = timedelta(days=1)
"""Firestore deletes expired results, which leaves no other trace."""
MAX_WORK_SECONDS = 0.002
_BATCH_DAYS = 50


@dataclass(slots=True)
class Report:
    """What a run has done, for all submitters. `is_finished`: nothing is left to do."""

    results: int = 0
    hours: int = 0
    archived: int = 0
    is_finished: bool = True

    def values(self) -> dict[str, object]:
        """Return the report as JSON."""
        return {
            "resultsArchived": self.archived,
            "resultsRead": self.results,
            "hoursWritten": self.hours,
            "finished": self.is_finished,
        }


class RollupBuilder:
    """Builds the rollups of one submitter until `deadline`, a time of `time.monotonic`. Belongs to one event loop.

    Each method raises `Unavailable` or `FirestoreError`, and `PreconditionFailed` if another instance works too.
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
        self._rollups = RollupStore(firestore, submitter)
        self._days = DayUpdates(firestore, writer, self._queries, self._rollups, self._pause)
        self._deadline = deadline
        self._min_results = min_results
        self._work_ends_at = 0.0
        self._checkpoint: Checkpoint

    async def run(self, report: Report) -> None:
        """Bring the rollups up to date, and add what was done to `report`."""
        checkpoint = await self._rollups.checkpoint()
        if checkpoint is None:
            if await self._queries.count_up_to(self._min_results) < self._min_results:
                return
            checkpoint = Checkpoint(await self._firestore.now())
        self._checkpoint = checkpoint
        if checkpoint.update_time is None:
            await self._save()
        if await self._must_wait():
            report.is_finished = False
            return
        parts = (self._add_changes, self._compute_stale_hours, self._extend, self._compare, self._compute_stale_hours)
        for part in parts:
            while await part(report):
                if time.monotonic() >= self._deadline:
                    report.is_finished = False
                    return

    async def _must_wait(self) -> bool:
        """Return whether the function computes many samples of this submitter now."""
        now = await self._firestore.now()
        if now - self._checkpoint.as_of > MAX_BUSY_TIME:
            return False
        return await self._queries.count_changes(now - BUSY_SECONDS, now, is_computed=False) > MAX_BUSY_RESULTS

    async def _save(self, **changes: Any) -> None:
        self._checkpoint = await self._rollups.write_checkpoint(self._writer, replace(self._checkpoint, **changes))

    async def _pause(self) -> None:
        """Let the function process events between short pieces of work."""
        if time.perf_counter() >= self._work_ends_at:
            await asyncio.sleep(0)
            self._work_ends_at = time.perf_counter() + MAX_WORK_SECONDS

    async def _add_changes(self, report: Report) -> bool:
        """Add the results since the checkpoint. Return False: no more follow."""
        checkpoint, now = self._checkpoint, await self._firestore.now()
        since = checkpoint.as_of - MAX_COMMIT_DELAY
        changed = await self._queries.count_changes(since, now, is_computed=False)
        if not changed:
            return False  # the checkpoint stays, so a submitter without new results costs no write
        computed = await self._queries.count_changes(since, now)
        covered = await self._queries.count_changes(since, now, checkpoint.covered_until)
        if covered > MAX_CHANGES:
            await self._save(as_of=now, covered_until=EARLIEST, stale_from=None, compared_at=None)
            return False
        hours, stale = await self._days.add_changes(checkpoint, now)
        report.results += covered
        report.hours += len(hours)
        stale_from = min([*stale, checkpoint.stale_from or LATEST])
        compared_at = None if changed > computed else checkpoint.compared_at
        await self._save(as_of=now, stale_from=None if stale_from == LATEST else stale_from, compared_at=compared_at)
        return False

    async def _compute_stale_hours(self, report: Report) -> bool:
        """Compute the stale hours of some days. Return whether more can follow."""
        start, covered_until = self._checkpoint.stale_from, self._checkpoint.covered_until
        if start is None or start >= covered_until:
            return False
        now = await self._firestore.now()
        stored = await self._rollups.days(covered_until, now)
        days = [day for day, has_stale_hours in stored if has_stale_hours and end_of(day) > start]
        if not days:
            await self._save(stale_from=None)
            return False
        read = report.results
        for day in days:
            (rollup,) = await self._days.read(day, day, now)
            unknown = {hour for hour, each in rollup.hours.items() if each.statistics is None}
            for first, last in ranges(unknown):
                found = await self._read_hours(first, last, now, report)
                for hour in [each for each in unknown if first <= each < last]:
                    del rollup.hours[hour]
                    if hour in found:
                        rollup.hours[hour] = RollupHour(now, found[hour])
            report.hours += len(unknown)
            await self._rollups.write(self._writer, [rollup])
            start = end_of(day)
            if report.results - read >= MAX_STEP_RESULTS or time.monotonic() >= self._deadline:
                break
        await self._save(stale_from=start)
        return True

    async def _extend(self, report: Report) -> bool:
        """Build the rollups of the results with the next time stamps. Return whether more can follow."""
        covered_until = self._checkpoint.covered_until
        if covered_until == LATEST:
            return False
        now = await self._firestore.now()
        earliest = await self._queries.earliest(covered_until, now)
        if earliest is None:
            await self._save(covered_until=LATEST)
            return False
        start = hour_of(earliest)
        end = await self._end_of_part(start, now)
        by_day: dict[date, dict[datetime, MergedStatistics]] = defaultdict(dict)
        for hour, merged in (await self._read_hours(start, end, now, report)).items():
            by_day[hour.date()][hour] = merged
        stored = {each.day: each for each in await self._days.read(start.date(), (end - HOUR).date(), now)}
        written = []
        for day in {*by_day, *stored}:
            rollup = stored.get(day) or Rollup(day)
            kept = {hour: each for hour, each in rollup.hours.items() if hour < covered_until}
            rollup.hours = kept | {hour: RollupHour(now, merged) for hour, merged in by_day[day].items()}
            report.hours += len(by_day[day])
            written.append(rollup)
        await self._rollups.write(self._writer, written)
        await self._save(covered_until=end)
        return True

    async def _end_of_part(self, start: datetime, now: datetime) -> datetime:
        """Return the end of a part from `start` on that has a limited number of results, and at least one hour."""
        hours, end = 1, next_hour(start)
        while hours * HOUR < LATEST - HOUR - end:
            longer = end + hours * HOUR
            if await self._queries.count(start, longer, now) > MAX_STEP_RESULTS:
                break
            hours, end = 2 * hours, longer
        return end

    async def _compare(self, report: Report) -> bool:
        """Compare the rollups with the number of results, if it is time. Hours that differ become stale."""
        checkpoint, now = self._checkpoint, await self._firestore.now()
        is_complete = checkpoint.covered_until == LATEST and checkpoint.stale_from is None
        is_recent = checkpoint.compared_at is not None and now - checkpoint.compared_at < COMPARISON_INTERVAL
        if not is_complete or is_recent:
            return False
        stale_from: datetime | None = None
        days = [day for day, _ in await self._rollups.days(LATEST, now)]
        for index in range(0, len(days), _BATCH_DAYS):
            first, last = days[index], days[min(index + _BATCH_DAYS, len(days)) - 1]
            for hour in await self._days.compare(self._checkpoint, first, last, now):
                stale_from = hour if stale_from is None else min(stale_from, hour)
        await self._save(compared_at=now, stale_from=stale_from)
        return False

    async def _read_hours(
        self, start: datetime, end: datetime, read_time: datetime, report: Report
    ) -> dict[datetime, MergedStatistics]:
        """Return the statistics of the results with time stamps in a range, by the start of their hour."""
        found: dict[datetime, MergedStatistics] = defaultdict(MergedStatistics)
        async with aclosing(self._queries.results(start, end, read_time)) as batches:
            async for documents in batches:
                report.results += len(documents)
                for document in documents:
                    await self._pause()
                    add_result(found[hour_of(timestamp_of(document))], document)
        return found
