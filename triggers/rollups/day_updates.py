"""Updates of the rollups of single days: adds results, and marks hours that must be computed again as stale."""

from collections.abc import AsyncGenerator, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from storage.firestore.client import Firestore
from storage.firestore.group_commit_writer import GroupCommitWriter
from storage.rollups.current_hours import CurrentHours, Pause, changes_since, current_hours
from storage.rollups.result_queries import ResultQueries, timestamp_of
from storage.rollups.rollup import LATEST, Checkpoint, Rollup, RollupHour, hour_of, midnight_of
from storage.rollups.rollup_store import RollupStore


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

    async def add(self, checkpoint: Checkpoint, changes: dict[date, list[Any]], until: datetime) -> set[datetime]:
        """Add changed results to the rollups of their days, as of `until`. Return the hours that are stale now.

        An hour is stale if a result was replaced or removed. `until` can be earlier than the last write of a rollup.
        """
        latest = await self._firestore.now()
        stored = {each.day: each for each in await self.read(min(changes), max(changes), latest)}
        stale: set[datetime] = set()
        written = []
        for day, documents in changes.items():
            rollup = stored.get(day) or Rollup(day)
            hours = await self._hours_at(checkpoint, rollup, documents, until)
            changed = {hour_of(timestamp_of(document)) for document in documents}
            for hour in {*changed, *rollup.hours}:
                if hour in rollup.hours and rollup.hours[hour].as_of > until:
                    if rollup.hours[hour].statistics is None:
                        stale.add(hour)
                    continue
                if hour in hours.unknown:
                    rollup.hours[hour] = RollupHour(until, None)
                    stale.add(hour)
                elif hour not in hours.statistics:
                    rollup.hours.pop(hour, None)
                elif hour in changed:
                    rollup.hours[hour] = RollupHour(until, hours.statistics[hour])
            written.append(rollup)
        await self._rollups.write(self._writer, written)
        return stale

    async def _hours_at(
        self, checkpoint: Checkpoint, rollup: Rollup, changes: Sequence[Any], until: datetime
    ) -> CurrentHours:
        """Return the covered hours of a day as of `until`. Hours of which the rollup is later are unknown."""
        hours = {
            hour: RollupHour(each.as_of, None) if each.as_of > until else each for hour, each in rollup.hours.items()
        }
        bounds = midnight_of(rollup.day), min(checkpoint.covered_until, end_of(rollup.day))
        return await current_hours(
            self._queries, checkpoint, [Rollup(rollup.day, hours)], _once(changes), bounds, until, self._pause
        )

    async def compare(self, checkpoint: Checkpoint, first: date, last: date, now: datetime) -> set[datetime]:
        """Compare the rollups of some days with the results. Return the hours that are stale now."""
        rollups = await self.read(first, last, now)
        bounds = midnight_of(first), end_of(last)
        changes = changes_since(self._queries, checkpoint, *bounds, now)
        hours = await current_hours(self._queries, checkpoint, rollups, changes, bounds, now, self._pause)
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


async def _once(documents: Sequence[Any]) -> AsyncGenerator[Sequence[Any], None]:
    yield documents


def end_of(day: date) -> datetime:
    """Return the end of a day in UTC."""
    return LATEST if day == date.max else midnight_of(day) + timedelta(days=1)
