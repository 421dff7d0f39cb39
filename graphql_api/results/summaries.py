"""Summaries of results: the merged statistics of all results that match a filter.

A summary is in total, per group of results with equal labels, or per time bucket.

A summary of results that are selected by time stamps and labels uses rollups. Any other summary reads the selected
results. A summary of a submitter without rollups also reads the selected results. Only the fields that are merged are
read, in batches that share one read time. The memory of a summary does not grow with the number of results, but its
duration does. A summary therefore raises an error after `MAX_SECONDS`.

A summary by time stamps and labels also includes the results in the hourly archive, at the same read time.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import partial

from graphql_api.budgets.loop_turns import LoopTurn
from graphql_api.errors import TooComplex
from graphql_api.results.filters import Order, Selection
from graphql_api.results.rolled_up_results import Group, RollupView, group_of, has_stored_hours, sorted_groups
from graphql_api.results.series_listing import MAX_GROUPS, too_many_groups
from graphql_api.results.store import Store
from storage.rollups.merged_statistics import MergedStatistics
from storage.rollups.result_queries import SUMMARIZED_FIELDS, add_result, timestamp_of
from storage.rollups.rollup import EARLIEST, Resolution

MAX_BUCKETS = 20_000
"""Enough for the 8,784 hours of a year, or for 50 groups on 366 days (18,300 buckets)."""
MAX_BYTES = 64 * 2**20
"""The memory of the quantile sketches of the groups of a time bucket, until the quantiles are computed.

The sketch of a result with 20 values takes 40 bytes. Without this limit, 20,000 groups of results with values in 1,700
bins used up to 207 MiB.
"""
MAX_SECONDS = 25.0
"""Less than the time limit of an operation, so that clients get the specific error of this module."""

_EPOCH = datetime.fromtimestamp(0, UTC)


class TimeBucket(Enum):
    """The length of a time bucket in seconds. Buckets start at multiples of their length after 1970-01-01 in UTC."""

    MINUTE = 60
    FIVE_MINUTES = 300
    HOUR = 3_600
    DAY = 86_400

    def start(self, timestamp: datetime) -> datetime:
        """Return the start of the bucket that contains `timestamp`."""
        length = timedelta(seconds=self.value)
        return _EPOCH + (timestamp - _EPOCH) // length * length


class Summary(MergedStatistics):
    """The statistics of selected results. `archived_results` is the number of these results that are in the archive.

    If the archive does not support the selection, `archived_results` is None, and the statistics do not include the
    archive.
    """

    def __init__(self, *, uses_archive: bool) -> None:
        super().__init__()
        self.archived_results: int | None = 0 if uses_archive else None

    def merge_archived(self, archived: MergedStatistics) -> None:
        """Add results of the archive."""
        self.merge(archived)
        self.archived_results = (self.archived_results or 0) + archived.results

    def merge_summary(self, other: "Summary") -> None:
        """Add the results of another summary of the same selection, which must not be finished."""
        self.merge(other)
        if self.archived_results is not None and other.archived_results is not None:
            self.archived_results += other.archived_results


_RESOLUTIONS = {TimeBucket.HOUR: Resolution.HOUR, TimeBucket.DAY: Resolution.DAY}

_Parts = AsyncGenerator[tuple[datetime, Group, Callable[[Summary], None]], None]
"""The start and the group of each part of a summary, and a function that adds the part to a `Summary`.

A part is a result, or the merged results of an hour or a day. Parts with the same start have no order.
"""


async def summarize(
    store: Store, submitter: str, selection: Selection, names: Sequence[str] = ()
) -> tuple[Summary, Mapping[Group, Summary]]:
    """Return the merged statistics of all selected results, and of each group of results with equal labels `names`.

    The groups are in alphabetical order. Without `names`, no groups are formed. Raises `TooComplex` after
    `MAX_SECONDS`, or if there are too many groups.
    """
    uses_archive = has_stored_hours(selection)
    total = Summary(uses_archive=uses_archive)
    groups: dict[Group, Summary] = {}

    def summary_of(group: Group) -> Summary:
        if group not in groups:
            if len(groups) == MAX_GROUPS:
                raise too_many_groups()
            groups[group] = Summary(uses_archive=uses_archive)
        return groups[group]

    turn = store.result_listing.turns.of(submitter)
    async with _time_limit():
        view = await store.rolled_up_results.view(submitter)
        reader = _Reader(store, submitter, selection, names, view, turn)
        sources = [reader.archived(Resolution.DAY)] if uses_archive else []
        for parts in (*sources, await reader.current(Resolution.DAY)):
            async with aclosing(parts):
                async for _, group, add_to in parts:
                    await turn.pause()
                    add_to(summary_of(group))
        for summary in groups.values():  # adding each part to the total too takes 15 % more CPU time
            await turn.pause()
            total.merge_summary(summary)
        await _finish(turn, (total, *groups.values()))
        ordered = await sorted_groups(groups, turn)
    return total, {group: groups[group] for group in ordered} if names else {}


async def summarize_over_time(
    store: Store, submitter: str, selection: Selection, bucket: TimeBucket, names: Sequence[str] = ()
) -> Mapping[tuple[datetime, Group], Summary]:
    """Return the merged statistics by the start of the bucket, the earliest first, and by group, in alphabetical order.

    Buckets without results are omitted. Raises `TooComplex` after `MAX_SECONDS`, or if there are more than
    `MAX_BUCKETS` buckets of all groups.
    """
    resolution = _RESOLUTIONS.get(bucket)
    uses_archive = resolution is not None and has_stored_hours(selection)
    turn = store.result_listing.turns.of(submitter)
    buckets = _Buckets(turn, bucket, uses_archive=uses_archive)
    async with _time_limit():
        view = await store.rolled_up_results.view(submitter)
        reader = _Reader(store, submitter, selection, names, view, turn)
        parts = await reader.current(resolution)
        if resolution is not None and uses_archive:
            parts = _in_order_of_time(reader.archived(resolution), parts)
        async with aclosing(parts):
            async for start, group, add_to in parts:
                await turn.pause()
                await buckets.add(start, group, add_to)
        await buckets.finish_latest()
    return buckets.summaries


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the parts of a summary at the read time of `view`.

    All parts share `turn` with their reader. With turns of their own, thousands of small parts would never pause.
    """

    store: Store
    submitter: str
    selection: Selection
    names: Sequence[str]
    view: RollupView
    turn: LoopTurn

    async def archived(self, resolution: Resolution) -> _Parts:
        """Yield the hours or days in the hourly archive. `has_stored_hours` must accept the selection."""
        archive = self.store.archived_results
        pieces = archive.pieces(self.submitter, self.selection, self.names, resolution, self.view.read_time, self.turn)
        async with aclosing(pieces):
            async for start, group, piece in pieces:
                yield start, group, partial(Summary.merge_archived, archived=piece)

    async def current(self, resolution: Resolution | None) -> _Parts:
        """Return the parts that are not in the archive: hours or days from rollups if possible, otherwise results.

        Without `resolution`, rollups are not used.
        """
        if resolution is not None:
            rollups = self.store.rolled_up_results
            pieces = await rollups.read(self.submitter, self.selection, self.names, resolution, self.view, self.turn)
            if pieces is not None:
                return pieces
        return self._results()

    async def _results(self) -> _Parts:
        """Yield each result in the order of time stamps."""
        fields = (*SUMMARIZED_FIELDS, "labels") if self.names else SUMMARIZED_FIELDS
        order = Order("timestamp")
        scan = self.store.result_listing.scan(
            self.submitter, self.selection, order, select=fields, read_time=self.view.read_time
        )
        async with aclosing(scan) as batches:
            async for documents in batches:
                for document in documents:
                    await self.turn.pause()
                    yield timestamp_of(document), group_of(document, self.names), partial(add_result, document=document)


async def _in_order_of_time(first: _Parts, second: _Parts) -> _Parts:
    """Yield the parts of two sources in the order of time. If two parts start at the same time, `first` comes first."""
    async with aclosing(first), aclosing(second):
        waiting = await anext(first, None)
        async for part in second:
            while waiting is not None and waiting[0] <= part[0]:
                yield waiting
                waiting = await anext(first, None)
            yield part
        if waiting is not None:
            yield waiting
        async for part in first:
            yield part


class _Buckets:
    """The summaries of the time buckets and groups that have results. Parts are added in the order of time."""

    def __init__(self, turn: LoopTurn, bucket: TimeBucket, *, uses_archive: bool) -> None:
        self.summaries: dict[tuple[datetime, Group], Summary] = {}
        """The finished summaries by the start of their bucket, the earliest first, and by their group."""
        self._turn = turn
        self._bucket = bucket
        self._uses_archive = uses_archive
        self._start = EARLIEST
        self._latest: dict[Group, Summary] = {}
        """The summaries of the latest bucket, which starts at `_start`. They are not finished."""
        self._sketch_bytes = 0
        """The size of their sketches."""

    async def add(self, timestamp: datetime, group: Group, add_to: Callable[[Summary], None]) -> None:
        """Add a part to the summary of its bucket and group. If its bucket is new, finish all earlier buckets."""
        start = self._bucket.start(timestamp)
        if start != self._start:
            await self.finish_latest()
            self._start = start
        if group not in self._latest:
            if len(self.summaries) + len(self._latest) == MAX_BUCKETS:
                raise TooComplex(
                    f"the results are in more than {MAX_BUCKETS:,} time buckets; choose a longer `bucket`, fewer "
                    "groups, or a shorter range in `filter.timestamp`",
                    limit="max_time_buckets",
                )
            self._latest[group] = Summary(uses_archive=self._uses_archive)
        summary = self._latest[group]
        self._sketch_bytes -= summary.sketch_bytes
        add_to(summary)
        self._sketch_bytes += summary.sketch_bytes
        if self._sketch_bytes > MAX_BYTES:
            raise TooComplex(
                f"the groups of the time bucket {start.isoformat()} have more than {MAX_BYTES // 2**20} MiB of "
                "statistics; use fewer groups, a shorter `bucket`, or a narrower filter",
                limit="max_bucket_bytes",
            )

    async def finish_latest(self) -> None:
        """Compute the quantiles of the latest bucket. No result is added to it later."""
        await _finish(self._turn, self._latest.values())
        for group in await sorted_groups(self._latest, self._turn):
            await self._turn.pause()
            self.summaries[self._start, group] = self._latest[group]
        self._latest, self._sketch_bytes = {}, 0


async def _finish(turn: LoopTurn, summaries: Iterable[MergedStatistics]) -> None:
    """Compute the quantiles of summaries, which frees their sketches."""
    for merged in summaries:
        await turn.pause()
        merged.finish()


@asynccontextmanager
async def _time_limit() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(MAX_SECONDS):
            yield
    except TimeoutError:
        raise TooComplex(
            f"the summary took longer than {MAX_SECONDS:g} s; use a narrower filter, for example on `timestamp`",
            limit="max_summary_seconds",
        ) from None
