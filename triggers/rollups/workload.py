"""How much work a run has, and the parts in which it does this work. The decisions depend on numbers of results."""

from datetime import datetime, timedelta

from storage.rollups.later_results import READ_MARGIN
from storage.rollups.result_queries import ResultQueries
from storage.rollups.rollup import EARLIEST, HOUR, LATEST, Resolution

BUSY_SECONDS = timedelta(seconds=10)
MAX_BUSY_RESULTS = 1_000
"""With more results in `BUSY_SECONDS`, the rollups of the submitter wait, because they slow down the function."""
MAX_BUSY_TIME = timedelta(minutes=1)
"""Rollups wait for up to this time. Meanwhile, summaries read the results that are in no rollup yet."""
MAX_STEP_RESULTS = 5_000
"""The approximate number of results that are read before the progress is stored.

If each result has 1,900 values in bins of their own, they use about 100 MiB.
"""
MAX_PART_CHANGES = 20_000
"""If more results were written after the checkpoint, they are added in parts. A part takes about 2.5 s."""
MIN_PART_TIME = READ_MARGIN
"""The minimum time that a part covers. Each part also reads the results of the `READ_MARGIN` before it again."""
MAX_CHANGES = 500_000
"""If more results, and half of all results, were written after the checkpoint, all rollups are built again."""


class Workload:
    """The work on the rollups of one submitter. `as_of` is the time of its checkpoint.

    Each method raises `Unavailable` or `FirestoreError`.
    """

    def __init__(self, queries: ResultQueries) -> None:
        self._queries = queries

    async def must_wait(self, as_of: datetime, now: datetime) -> bool:
        """Return whether the rollups wait, because the function is computing many samples of this submitter."""
        if now - as_of > MAX_BUSY_TIME:
            return False
        return await self._queries.count_changes(now - BUSY_SECONDS, now, is_computed=False) > MAX_BUSY_RESULTS

    async def end_of_changes(self, as_of: datetime, now: datetime) -> datetime:
        """Return the time until which a limited number of results was written after `as_of`, up to `now`."""
        until = now
        while until - as_of > MIN_PART_TIME:
            if await self._queries.count_changes(as_of, now, until=until) <= MAX_PART_CHANGES:
                break
            until = as_of + (until - as_of) / 2
        return until

    async def has_removed(self, since: datetime, now: datetime) -> bool:
        """Return whether results were removed, or replaced by results that are not computed."""
        computed = await self._queries.count_changes(since, now)
        removed = await self._queries.count_changes(since, now, is_computed=False) - computed
        return removed > 0 and removed > await self._queries.count_new_failed(since, now)

    async def needs_rebuild(self, since: datetime, now: datetime) -> bool:
        """Return whether building all rollups again takes less time than adding the results after `since`."""
        computed = await self._queries.count_changes(since, now)
        return computed > MAX_CHANGES and 2 * computed > await self._queries.count(EARLIEST, LATEST, now)

    async def end_of_part(self, start: datetime, now: datetime) -> datetime:
        """Return the end of a part from `start` that has a limited number of results, and at least one hour."""
        hours, end = 1, Resolution.HOUR.end_of(start)
        while hours * HOUR < LATEST - HOUR - end:
            longer = end + hours * HOUR
            if await self._queries.count(start, longer, now) > MAX_STEP_RESULTS:
                break
            hours, end = 2 * hours, longer
        return end
