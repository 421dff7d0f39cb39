"""All results within a range of time stamps, as merged statistics per hour: from rollups, and else from the results.

Rollups exist for whole hours, and for submitters with many results. This module reads the results of the first and the
last part of an hour, of hours that no rollup contains yet, and of hours whose rollup is not up to date.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, cast

from graphql_api.results.filters import Bound, Order, Selection
from graphql_api.results.result_listing import ResultListing
from storage.firestore.client import Firestore
from storage.rollups.current_hours import add_changes, changes_since, current_hours, ranges, stored_hours, whole_hours
from storage.rollups.merged_statistics import FIELDS, MergedStatistics
from storage.rollups.result_queries import ResultQueries, add_result, timestamp_of
from storage.rollups.rollup import EARLIEST, LATEST, Checkpoint, hour_of
from storage.rollups.rollup_store import RollupStore

_RESOLUTION = timedelta(microseconds=1)
_FIELDS = ("timestamp", *FIELDS, "sketch")


class View(NamedTuple):
    """What rollups contain, and a read time that is not before."""

    checkpoint: Checkpoint | None
    read_time: datetime


Piece = tuple[datetime, MergedStatistics]
"""The start of an hour, and the statistics of all or of some of its selected results."""


class RolledUpResults:
    """Reads the results of one submitter. Callers pass the submitter of the authenticated credential."""

    def __init__(self, firestore: Firestore, listing: ResultListing, *, shards: int) -> None:
        self._firestore = firestore
        self._listing = listing
        self._shards = shards

    async def view(self, submitter: str) -> View:
        """Return the current view. Parts of an answer that share a view have the same read time."""
        checkpoint = await RollupStore(self._firestore, submitter).checkpoint()
        return View(checkpoint, await self._firestore.now())  # rollups are not older than the checkpoint then

    async def pieces(self, submitter: str, selection: Selection, view: View) -> AsyncGenerator[Piece, None]:
        """Yield the selected results, which `can_use_rollups` accepts, in the order of hours."""
        rollups = RollupStore(self._firestore, submitter)
        checkpoint, read_time = view
        start, end = time_range(selection.bounds)
        covered_until = EARLIEST if checkpoint is None else checkpoint.covered_until
        first, last = whole_hours(start, min(end, covered_until))
        if checkpoint is None or first >= last:
            first = last = start
        turn = self._listing.turns.of(submitter)
        async with aclosing(self._scanned(submitter, start, first, read_time)) as head:
            async for piece in head:
                yield piece
        if checkpoint is not None and first < last:
            queries = ResultQueries(self._firestore, submitter, shards=self._shards)
            stored = stored_hours(await rollups.between(first, last, read_time, turn.pause), first, last)
            added: dict[datetime, MergedStatistics] = {}
            async with aclosing(changes_since(queries, checkpoint, first, last, read_time)) as batches:
                async for documents in batches:
                    await add_changes(added, stored, checkpoint, documents, turn.pause)
            hours = await current_hours(queries, stored, added, read_time)
            del stored, added
            unknown = dict(ranges(hours.unknown))
            for hour in sorted([*hours.statistics, *unknown]):
                await turn.pause()
                if hour in unknown:
                    async with aclosing(self._scanned(submitter, hour, unknown[hour], read_time)) as scanned:
                        async for piece in scanned:
                            yield piece
                else:
                    yield hour, hours.statistics.pop(hour)
        async with aclosing(self._scanned(submitter, last, end, read_time)) as tail:
            async for piece in tail:
                yield piece

    async def _scanned(
        self, submitter: str, start: datetime, end: datetime, read_time: datetime
    ) -> AsyncGenerator[Piece, None]:
        """Yield the results with a time stamp from `start` to `end`, which is in the range only if it is `LATEST`."""
        if start >= end:
            return
        bounds = [Bound("timestamp", ">=", start), Bound("timestamp", "<=" if end == LATEST else "<", end)]
        turn = self._listing.turns.of(submitter)
        hour, merged = start, MergedStatistics()
        scan = self._listing.scan(submitter, Selection(bounds), Order("timestamp"), _FIELDS, read_time=read_time)
        async with aclosing(scan) as batches:
            async for documents in batches:
                for document in documents:
                    await turn.pause()
                    if (of_result := hour_of(timestamp_of(document))) != hour:
                        if merged.results:
                            yield hour, merged
                        hour, merged = of_result, MergedStatistics()
                    add_result(merged, document)
        if merged.results:
            yield hour, merged


def can_use_rollups(selection: Selection) -> bool:
    """Return whether a selection has bounds on the time stamp only."""
    return not selection.labels and all(bound.field == "timestamp" for bound in selection.bounds)


def time_range(bounds: Sequence[Bound]) -> tuple[datetime, datetime]:
    """Return the range of time stamps within all bounds. Time stamps are stored with a precision of a microsecond."""
    start, end = EARLIEST, LATEST
    for bound in bounds:
        value: Any = cast(datetime, bound.value).astimezone(UTC)
        if bound.operator in (">", "<=") and value < LATEST:
            value += _RESOLUTION
        if bound.operator in (">=", ">"):
            start = max(start, value)
        else:
            end = min(end, value)
    return start, end
