"""Results in the hourly archive, as merged statistics per hour and group.

The archive has no single results. It supports selections by time stamp and labels. An hour is selected only if the
whole hour lies in the selected range. Each result is either in `results` or in the archive. A summary that reads both
at the same read time therefore counts each result once.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from operator import itemgetter

from graphql_api.budgets.loop_turns import LoopTurn
from graphql_api.errors import TooComplex
from graphql_api.results.filters import Selection
from graphql_api.results.rolled_up_results import Group, group_with, time_range
from storage.documents import Labels
from storage.firestore.client import Firestore
from storage.hourly_archive.archive_store import ArchiveStore
from storage.rollups.merged_statistics import MergedStatistics
from storage.rollups.rollup import LATEST, Resolution

MAX_BYTES = 64 * 2**20
"""The memory of the pieces of a day. The hours of 1,000 groups of results with 20 values take 25 MiB.

With values in 1,900 bins, the hours of 550 groups fit.
"""
_PIECE_BYTES = 1_024
"""The memory of a piece, apart from its quantile sketch."""

ArchivedPiece = tuple[datetime, Group, MergedStatistics]
"""The start of an hour or a day, a group, and the statistics of all or some of its results in the archive."""


class ArchivedResults:
    """Reads the hourly archive of one submitter. Callers pass the submitter of the authenticated credential."""

    def __init__(self, firestore: Firestore) -> None:
        self._firestore = firestore

    async def pieces(
        self,
        submitter: str,
        selection: Selection,
        names: Sequence[str],
        resolution: Resolution,
        read_time: datetime,
        turn: LoopTurn,
    ) -> AsyncGenerator[ArchivedPiece, None]:
        """Yield the selected hours or days in the order of time, read at `read_time`, in the steps of `turn`.

        `has_stored_hours` must accept the selection. If days are requested, incomplete days at both ends are returned
        as hours.
        """
        earliest, latest = time_range(selection.bounds)
        start, end = Resolution.HOUR.whole(earliest, latest)
        if latest == LATEST:
            end = LATEST
        having = selection.labels if names or selection.labels else None
        reader = _Reader(ArchiveStore(self._firestore, submitter), names, having, read_time, turn)
        for part in resolution.parts(start, end):
            async with aclosing(reader.pieces(*part)) as pieces:
                async for piece in pieces:
                    yield piece


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the archived results that have the labels `having`, at `read_time`, in the steps of `turn`."""

    archive: ArchiveStore
    names: Sequence[str]
    having: Labels | None
    read_time: datetime
    turn: LoopTurn

    async def pieces(
        self, start: datetime, end: datetime, resolution: Resolution
    ) -> AsyncGenerator[ArchivedPiece, None]:
        """Yield the hours or days between two times. A day has one piece for each span and group."""
        last = (end - timedelta(microseconds=1)).date()
        pieces = _DayPieces(start.date())
        documents = self.archive.between(start.date(), last, self.read_time, self.having, resolution)
        async with aclosing(documents) as days:
            async for each in days:
                await self.turn.pause()
                if each.day != pieces.day:
                    for piece in pieces.in_order_of_time():
                        yield piece
                    pieces = _DayPieces(each.day)
                group = group_with(each.labels or {}, self.names)
                for span_start, merged in each.spans(resolution).items():
                    if start <= span_start < end:
                        await self.turn.pause()
                        pieces.add(span_start, group, merged)
                pieces.check_size()
        for piece in pieces.in_order_of_time():
            yield piece


class _DayPieces:
    """The pieces of one day. They have a limited size."""

    def __init__(self, day: date) -> None:
        self.day = day
        self._merged: dict[tuple[datetime, Group], MergedStatistics] = {}
        self._byte_count = 0

    def add(self, start: datetime, group: Group, merged: MergedStatistics) -> None:
        """Add statistics to the piece of a span and a group."""
        piece = self._merged.get((start, group))
        if piece is None:
            self._merged[start, group] = piece = merged
            self._byte_count += _PIECE_BYTES
        else:
            self._byte_count -= piece.sketch_bytes
            piece.merge(merged)
        self._byte_count += piece.sketch_bytes

    def check_size(self) -> None:
        """Raise `TooComplex` if the pieces use more than `MAX_BYTES`."""
        if self._byte_count > MAX_BYTES:
            raise TooComplex(
                f"the hourly archive of {self.day} has more than {MAX_BYTES // 2**20} MiB of statistics of these "
                "groups; use a narrower filter, for example some hours of the day, or a longer `bucket`",
                limit="max_archive_bytes",
            )

    def in_order_of_time(self) -> list[ArchivedPiece]:
        """Return the pieces in the order of time."""
        return [(start, group, self._merged[start, group]) for start, group in sorted(self._merged, key=itemgetter(0))]
