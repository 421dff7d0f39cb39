"""Updates of the rollups of single days: adds results, and marks hours that must be computed again as stale."""

from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import aclosing
from datetime import date, datetime, timedelta

from storage.firestore.client import Firestore
from storage.firestore.group_commit_writer import GroupCommitWriter
from storage.rollups.current_hours import Pause, add_changes, changes_since, current_hours, stored_hours
from storage.rollups.merged_statistics import MergedStatistics
from storage.rollups.result_queries import ResultQueries, timestamp_of
from storage.rollups.rollup import EARLIEST, LATEST, Checkpoint, Rollup, RollupHour, hour_of, midnight_of
from storage.rollups.rollup_store import RollupStore

_MAX_WRITTEN_DAYS = 50


class DayUpdates:
    """Reads and writes the rollups of one submitter.

    Each method raises `Unavailable` or `FirestoreError`, and `PreconditionFailed` if another instance works too.
    """

    def __init__(
        self,
        firestore: Firestore,
        writer: GroupCommitWriter,
        queries: ResultQueries,
        rollups: RollupStore,
        pause: Pause,
    ) -> None:
        self._firestore = firestore
        self._writer = writer
        self._queries = queries
        self._rollups = rollups
        self._pause = pause

    async def read(self, first: date, last: date, read_time: datetime) -> list[Rollup]:
        """Return the rollups from the day `first` to the day `last`."""
        return await self._rollups.between(midnight_of(first), end_of(last), read_time, self._pause)

    async def add_changes(self, checkpoint: Checkpoint, now: datetime) -> tuple[set[datetime], set[datetime]]:
        """Add the results since the checkpoint to the rollups of their days.

        Return the hours of these results, and the hours that are stale now. An hour is stale if a result was replaced
        or removed.
        """
        rollups: dict[date, Rollup] = {}
        stored: dict[datetime, RollupHour] = {}
        added: dict[datetime, MergedStatistics] = {}
        changed: set[datetime] = set()
        changes = changes_since(self._queries, checkpoint, EARLIEST, checkpoint.covered_until, now)
        async with aclosing(changes) as batches:
            async for documents in batches:
                hours = {hour_of(timestamp_of(document)) for document in documents}
                changed |= hours
                if missing := {hour.date() for hour in hours} - rollups.keys():
                    await self._load(missing, rollups, now)
                    for day in missing:
                        stored |= stored_hours([rollups[day]], EARLIEST, checkpoint.covered_until)
                await add_changes(added, stored, checkpoint, documents, self._pause)
        stale: set[datetime] = set()
        for days in _consecutive(rollups):
            stale |= await self._write([rollups[day] for day in days], stored, added, changed, now)
        return changed, stale

    async def _load(self, days: Set[date], rollups: dict[date, Rollup], now: datetime) -> None:
        """Add the rollups of `days`, which can be empty."""
        for each in await self.read(min(days), max(days), now):
            if each.day in days:
                rollups[each.day] = each
        for day in days - rollups.keys():
            rollups[day] = Rollup(day)

    async def _write(
        self,
        rollups: Sequence[Rollup],
        stored: Mapping[datetime, RollupHour],
        added: Mapping[datetime, MergedStatistics],
        changed: Set[datetime],
        now: datetime,
    ) -> set[datetime]:
        """Write the rollups of consecutive days. Return the hours that are stale now."""
        start, end = midnight_of(rollups[0].day), end_of(rollups[-1].day)
        hours = await current_hours(
            self._queries,
            {hour: each for hour, each in stored.items() if start <= hour < end},
            {hour: each for hour, each in added.items() if start <= hour < end},
            now,
        )
        for rollup in rollups:
            first, last = midnight_of(rollup.day), end_of(rollup.day)
            for hour in {*rollup.hours, *(hour for hour in changed if first <= hour < last)}:
                if hour in hours.unknown:
                    rollup.hours[hour] = RollupHour(now, None)
                elif hour not in hours.statistics:
                    rollup.hours.pop(hour, None)
                elif hour in changed:
                    rollup.hours[hour] = RollupHour(now, hours.statistics[hour])
        await self._rollups.write(self._writer, rollups)
        return hours.unknown

    async def compare(self, checkpoint: Checkpoint, first: date, last: date, now: datetime) -> set[datetime]:
        """Compare the rollups of some days with the results. Return the hours that are stale now."""
        rollups = await self.read(first, last, now)
        bounds = midnight_of(first), end_of(last)
        stored = stored_hours(rollups, *bounds)
        added: dict[datetime, MergedStatistics] = {}
        async with aclosing(changes_since(self._queries, checkpoint, *bounds, now)) as batches:
            async for documents in batches:
                await add_changes(added, stored, checkpoint, documents, self._pause)
        hours = await current_hours(self._queries, stored, added, now)
        stale: set[datetime] = set()
        written = []
        for rollup in rollups:
            different = [hour for hour in rollup.hours if hour not in hours.statistics]
            for hour in different:
                if hour in hours.unknown:
                    rollup.hours[hour] = RollupHour(now, None)
                    stale.add(hour)
                else:
                    del rollup.hours[hour]
            if different:
                written.append(rollup)
        await self._rollups.write(self._writer, written)
        return stale


def _consecutive(days: Iterable[date]) -> list[list[date]]:
    """Return runs of consecutive days, of up to `_MAX_WRITTEN_DAYS`."""
    runs: list[list[date]] = []
    for day in sorted(days):
        if runs and len(runs[-1]) < _MAX_WRITTEN_DAYS and runs[-1][-1] == day - timedelta(days=1):
            runs[-1].append(day)
        else:
            runs.append([day])
    return runs


def end_of(day: date) -> datetime:
    """Return the end of a day in UTC."""
    return LATEST if day == date.max else midnight_of(day) + timedelta(days=1)
