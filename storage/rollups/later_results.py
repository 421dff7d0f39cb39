"""The results that were written after the rollups, and a check of rollups and later results together."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from storage.firestore import encoding
from storage.firestore.messages import Document
from storage.rollups.checkpoint import Checkpoint
from storage.rollups.day_rollups import Pause
from storage.rollups.difference_search import Count, Span, find_differences
from storage.rollups.merged_statistics import MergedStatistics
from storage.rollups.result_queries import ResultQueries, add_result, timestamp_of
from storage.rollups.rollup import LATEST, Resolution, Snapshot
from storage.rollups.series import Series

READ_MARGIN = timedelta(seconds=5)
"""Results are read from this long before the checkpoint, because `computed_at` can be earlier than the commit.

A longer margin costs little: a result that a rollup already contains is read, but not added. Subscriptions allow 1 s
for the same difference (`graphql_api/live/replay.py`).
"""

Key = tuple[datetime, Series]
"""The start of an hour or a day, and a series."""


def changes_since(
    queries: ResultQueries,
    checkpoint: Checkpoint,
    start: datetime,
    end: datetime,
    read_time: datetime,
    until: datetime = LATEST,
) -> AsyncGenerator[Sequence[Document], None]:
    """Yield batches of the results with a time stamp from `start` to `end` that the rollups may not contain.

    Results that were written after `until` may be left out.
    """
    return queries.changes(checkpoint.as_of - READ_MARGIN, start, end, read_time, until=until)


class LaterResults:
    """The statistics of the results that `snapshots` do not contain, and the spans whose snapshots cannot be used.

    Results that were written after `until` are not added.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        snapshots: Mapping[Key, Snapshot],
        resolution: Resolution,
        until: datetime = LATEST,
    ) -> None:
        self.statistics: dict[Key, MergedStatistics] = {}
        self.unusable = {start for (start, _), snapshot in snapshots.items() if snapshot.is_stale}
        self._checkpoint = checkpoint
        self._snapshots = snapshots
        self._resolution = resolution
        self._until = until

    def add(self, document: Document, series: Series) -> None:
        """Add a result of a series, a protocol `Document`, unless a snapshot contains it."""
        written_at = encoding.to_datetime(document.update_time)
        if not self._checkpoint.as_of < written_at <= self._until:
            return
        key = self._resolution.start_of(timestamp_of(document)), series
        snapshot = self._snapshots.get(key)
        if snapshot is not None and written_at <= snapshot.as_of:
            if self._resolution is Resolution.DAY:  # `as_of` may be the time of another hour
                self.unusable.add(key[0])
            return
        if key not in self.statistics:
            self.statistics[key] = MergedStatistics()
        add_result(self.statistics[key], document)


@dataclass(frozen=True, slots=True)
class VerifiedSpans:
    """Spans by their start: with exact statistics, with statistics that must be computed again, and without results."""

    usable: set[datetime]
    unusable: set[datetime]
    empty: set[datetime]


async def verify_spans(
    count: Count, snapshots: Mapping[Key, Snapshot], later: LaterResults, resolution: Resolution, pause: Pause
) -> VerifiedSpans:
    """Compare the number of results in each span with the number in `snapshots` and the later results."""
    expected: dict[datetime, int] = dict.fromkeys(later.unusable, 0)
    for (start, _), snapshot in snapshots.items():
        await pause()
        expected[start] = expected.get(start, 0) + snapshot.results
    for (start, _), merged in later.statistics.items():
        await pause()
        expected[start] = expected.get(start, 0) + merged.results
    verified = VerifiedSpans(set(expected), set(later.unusable), set())
    for spans in await _spans(expected, later.unusable, resolution, pause):
        found = await find_differences(count, spans)
        verified.empty.update(span.start for span in found.empty)
        verified.unusable.update(span.start for span in found.different)
    verified.usable.difference_update(verified.empty, verified.unusable)
    return verified


def joined_ranges(starts: Iterable[datetime], resolution: Resolution) -> list[tuple[datetime, datetime]]:
    """Return the ranges of time of some spans. Adjacent spans form one range."""
    found: list[tuple[datetime, datetime]] = []
    for start in sorted(starts):
        if found and found[-1][1] == start:
            found[-1] = found[-1][0], resolution.end_of(start)
        else:
            found.append((start, resolution.end_of(start)))
    return found


async def _spans(
    expected: Mapping[datetime, int], unusable: set[datetime], resolution: Resolution, pause: Pause
) -> list[list[Span]]:
    """Return lists of usable spans in order. No unusable span is between the spans of a list."""
    lists: list[list[Span]] = [[]]
    for start in sorted(expected):
        await pause()
        if start not in unusable:
            lists[-1].append(Span(start, resolution.end_of(start), expected[start]))
        elif lists[-1]:
            lists.append([])
    return [spans for spans in lists if spans]
