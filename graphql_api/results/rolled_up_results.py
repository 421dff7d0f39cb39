"""The results within a range of time stamps, of all or of some series, as merged statistics of hours or of days.

Rollups contain merged statistics of whole hours and days. Submitters with few results have no rollups. This module
reads rollups of days. It reads rollups of hours if a day is selected only in part, or if it differs from its rollup. It
reads single results if an hour is selected only in part, is in no rollup yet, or differs from its rollup.
"""

from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from heapq import merge
from typing import Any, NamedTuple, cast

from graphql_api.budgets.loop_turns import LoopTurn
from graphql_api.results.filters import Bound, Order, Selection
from graphql_api.results.result_listing import ResultListing
from graphql_api.results.series_listing import SeriesListing
from storage.documents import Labels, labels
from storage.firestore.client import Firestore
from storage.firestore.messages import Document
from storage.rollups.checkpoint import Checkpoint
from storage.rollups.checkpoint_store import CheckpointStore
from storage.rollups.later_results import LaterResults, changes_since, joined_ranges, verify_spans
from storage.rollups.merged_statistics import MergedStatistics
from storage.rollups.result_queries import SUMMARIZED_FIELDS, ResultQueries, add_result, timestamp_of
from storage.rollups.rollup import EARLIEST, LATEST, Resolution
from storage.rollups.rollup_store import RollupStore, Window
from storage.rollups.series import BY_SERIES, TOTAL, Series, labels_of

_MICROSECOND = timedelta(microseconds=1)
_MAX_GROUPS_IN_MEMORY = 1_000
"""Groups of the results of an hour that are read and not yet passed on. A quantile sketch can have 10 KiB."""
_SORTED_TOGETHER = 500
"""Groups that are sorted in one step, which takes less than a millisecond. A time bucket can have 20,000 groups."""


class RollupView(NamedTuple):
    """The checkpoint of the rollups at `read_time`, so that it describes the rollups that are read at this time."""

    checkpoint: Checkpoint | None
    read_time: datetime


Group = tuple[str | None, ...]
"""The values of the labels by which results are grouped. A value is None if the results lack the label."""

Piece = tuple[datetime, Group, Callable[[MergedStatistics], None]]
"""The start of an hour or a day, a group, and a function that adds all or some of its selected results to a summary."""


class RolledUpResults:
    """Reads the results of one submitter. Callers pass the submitter of the authenticated credential."""

    def __init__(
        self, firestore: Firestore, listing: ResultListing, series_listing: SeriesListing, *, shards: int
    ) -> None:
        self._firestore = firestore
        self._listing = listing
        self._series_listing = series_listing
        self._shards = shards

    async def view(self, submitter: str) -> RollupView:
        """Return the current view. All parts of a response use the same view, and so the same read time."""
        read_time = await self._firestore.now()
        return RollupView(await CheckpointStore(self._firestore, submitter).read(read_time), read_time)

    async def read(
        self,
        submitter: str,
        selection: Selection,
        names: Sequence[str],
        resolution: Resolution,
        view: RollupView,
        turn: LoopTurn,
    ) -> AsyncGenerator[Piece, None] | None:
        """Return the pieces of the selected results in the order of time, grouped by the labels `names`.

        The work is done in the steps of `turn`. Return None if the rollups do not support the selection.
        """
        is_total = not names and not selection.labels
        checkpoint, read_time = view
        if not has_stored_hours(selection) or checkpoint is None or not (is_total or checkpoint.has_series):
            return None
        series: list[Series] = []
        if selection.labels:  # read after the read time, so that it includes the series of each result
            found = await self._series_listing.read(submitter, selection.labels)
            series = await turn.map(labels.term, found)
        reader = _Reader(
            self._listing,
            ResultQueries(self._firestore, submitter, shards=self._shards),
            RollupStore(self._firestore, submitter, TOTAL if is_total else BY_SERIES),
            checkpoint,
            submitter,
            selection,
            names,
            series,
            read_time,
            turn,
        )
        return reader.pieces(resolution)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the results of one selection at `read_time`. If labels are selected, `series` are the series with them."""

    listing: ResultListing
    queries: ResultQueries
    rollups: RollupStore
    checkpoint: Checkpoint
    submitter: str
    selection: Selection
    names: Sequence[str]
    series: Collection[Series]
    read_time: datetime
    turn: LoopTurn

    async def pieces(self, resolution: Resolution) -> AsyncGenerator[Piece, None]:
        """Yield all pieces in the order of time."""
        start, end = time_range(self.selection.bounds)
        first, last = Resolution.HOUR.whole(start, min(end, self.checkpoint.covered_until))
        parts = [self._scanned(start, end)]
        if first < last:
            parts = [self._scanned(start, first), self._rolled_up(first, last, resolution), self._scanned(last, end)]
        for part in parts:
            async with aclosing(part):
                async for piece in part:
                    yield piece

    async def _rolled_up(self, start: datetime, end: datetime, resolution: Resolution) -> AsyncGenerator[Piece, None]:
        """Yield the pieces of whole hours that the checkpoint covers."""
        for part_start, part_end, part_resolution in resolution.parts(start, end):
            pieces = self._verified(part_start, part_end, part_resolution)
            async with aclosing(pieces):
                async for piece in pieces:
                    yield piece

    async def _verified(self, start: datetime, end: datetime, resolution: Resolution) -> AsyncGenerator[Piece, None]:
        """Yield the pieces of whole spans. Use a rollup only if it has the correct number of results."""
        windows = self.rollups.windows(
            start, end, self.read_time, resolution, self.turn.pause, self._is_selected, self.series
        )
        async with aclosing(windows):
            async for window in windows:
                pieces = self._verified_window(start, window, resolution)
                async with aclosing(pieces):
                    async for piece in pieces:
                        yield piece
                start = window.end

    async def _verified_window(
        self, start: datetime, window: Window, resolution: Resolution
    ) -> AsyncGenerator[Piece, None]:
        later = await self._later_results(start, window, resolution)
        verified = await verify_spans(self._count, window.snapshots, later, resolution, self.turn.pause)
        series_of_span: dict[datetime, list[Series]] = defaultdict(list)
        for span, series in {**window.snapshots, **later.statistics}:
            series_of_span[span].append(series)
        unusable = dict(joined_ranges(verified.unusable, resolution))
        for span in sorted({*verified.usable, *unusable}):
            if span in verified.usable:
                for series in series_of_span[span]:
                    group, key = group_with(labels_of(series), self.names), (span, series)
                    if (snapshot := window.snapshots.pop(key, None)) is not None:
                        yield span, group, snapshot.add_to
                    if (added := later.statistics.pop(key, None)) is not None:
                        yield span, group, partial(MergedStatistics.merge, other=added)
                continue
            end = unusable[span]
            is_day = resolution is Resolution.DAY
            pieces = self._verified(span, end, Resolution.HOUR) if is_day else self._scanned(span, end)
            async with aclosing(pieces):
                async for piece in pieces:
                    yield piece

    async def _later_results(self, start: datetime, window: Window, resolution: Resolution) -> LaterResults:
        """Return the selected results of a window that were written after its rollups."""
        later = LaterResults(self.checkpoint, window.snapshots, resolution)
        changes = changes_since(self.queries, self.checkpoint, start, window.end, self.read_time)
        async with aclosing(changes):
            async for documents in changes:
                for document in documents:
                    await self.turn.pause()
                    if self._is_selected(series := self.rollups.kind.series_of(document)):
                        later.add(document, series)
        return later

    async def _count(self, start: datetime, end: datetime) -> int:
        return await self.queries.count(start, end, self.read_time, self.selection.label_term)

    def _is_selected(self, series: Series) -> bool:
        return not self.selection.labels or self.selection.labels.items() <= labels_of(series).items()

    async def _scanned(self, start: datetime, end: datetime) -> AsyncGenerator[Piece, None]:
        """Yield the selected results with a time stamp from `start` up to `end`. Exclude `end`, unless it is `LATEST`.

        A range that excludes its end cannot contain `LATEST`. If `end` is `LATEST`, the query therefore includes `end`,
        and also has the bounds of the selection.
        """
        if start > end or start == end < LATEST:
            return
        bounds = [Bound("timestamp", ">=", start), Bound("timestamp", "<=" if end == LATEST else "<", end)]
        selection = Selection([*bounds, *self.selection.bounds] if end == LATEST else bounds, self.selection.labels)
        hour, groups = start, defaultdict[Group, MergedStatistics](MergedStatistics)
        fields = (*SUMMARIZED_FIELDS, "labels") if self.names else SUMMARIZED_FIELDS
        scan = self.listing.scan(self.submitter, selection, Order("timestamp"), fields, read_time=self.read_time)
        async with aclosing(scan) as batches:
            async for documents in batches:
                for document in documents:
                    await self.turn.pause()
                    of_result = Resolution.HOUR.start_of(timestamp_of(document))
                    if of_result != hour or len(groups) == _MAX_GROUPS_IN_MEMORY:
                        for piece in _pieces(hour, groups):
                            yield piece
                        hour, groups = of_result, defaultdict(MergedStatistics)
                    add_result(groups[group_of(document, self.names)], document)
        for piece in _pieces(hour, groups):
            yield piece


def has_stored_hours(selection: Selection) -> bool:
    """Return whether statistics of hours support a selection: it may have labels and bounds on the time stamp."""
    return all(bound.field == "timestamp" for bound in selection.bounds)


def group_of(document: Document, names: Sequence[str]) -> Group:
    """Return the group of a result, a protocol `Document` that has its labels."""
    if not names:
        return ()
    stored = document.fields["labels"].map_value.fields
    return tuple(stored[name].string_value if name in stored else None for name in names)


def group_with(found: Labels, names: Sequence[str]) -> Group:
    """Return the group of results with these labels."""
    return tuple(found.get(name) for name in names)


async def sorted_groups(groups: Iterable[Group], turn: LoopTurn) -> list[Group]:
    """Return groups in alphabetical order, in the steps of `turn`. Groups without a label come first."""
    given = list(groups)
    parts = (given[start : start + _SORTED_TOGETHER] for start in range(0, len(given), _SORTED_TOGETHER))
    ordered = await turn.map(partial(sorted, key=_rank), parts)
    return await turn.map(lambda group: group, merge(*ordered, key=_rank))


def _rank(group: Group) -> list[str]:
    return [each or "" for each in group]


def _pieces(start: datetime, groups: Mapping[Group, MergedStatistics]) -> list[Piece]:
    return [(start, group, partial(MergedStatistics.merge, other=merged)) for group, merged in groups.items()]


def time_range(bounds: Sequence[Bound]) -> tuple[datetime, datetime]:
    """Return the range of time stamps within all bounds. Time stamps are stored with a precision of a microsecond."""
    start, end = EARLIEST, LATEST
    for bound in bounds:
        value: Any = cast(datetime, bound.value).astimezone(UTC)
        if bound.operator in (">", "<=") and value < LATEST:
            value += _MICROSECOND
        if bound.operator in (">=", ">"):
            start = max(start, value)
        else:
            end = min(end, value)
    return start, end
