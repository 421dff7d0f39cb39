"""Results in the hourly archive, as merged statistics per hour and group.

The archive has no single results. It supports selections by time stamp and labels. An hour is selected only if the
whole hour lies in the selected range. Each result is either in `results` or in the archive. A summary that reads both
at the same read time therefore counts each result once.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import date, datetime, timedelta

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
        for part_start, part_end, part_resolution in resolution.parts(start, end):
            pieces = self._part(submitter, part_start, part_end, names, having, part_resolution, read_time, turn)
            async with aclosing(pieces):
                async for piece in pieces:
                    yield piece

    async def _part(
        self,
        submitter: str,
        start: datetime,
        end: datetime,
        names: Sequence[str],
        having: Labels | None,
        resolution: Resolution,
        read_time: datetime,
        turn: LoopTurn,
    ) -> AsyncGenerator[ArchivedPiece, None]:
        """Yield the hours or days between two times. A day has one piece for each span and group."""
        last = (end - timedelta(microseconds=1)).date()
        documents = ArchiveStore(self._firestore, submitter).between(start.date(), last, read_time, having, resolution)
        day: date | None = None
        pieces: dict[tuple[datetime, Group], MergedStatistics] = {}
        byte_count = 0
        async with aclosing(documents) as days:
            async for each in days:
                await turn.pause()
                if each.day != day:
                    for piece in _in_order_of_time(pieces):
                        yield piece
                    day, pieces, byte_count = each.day, {}, 0
                group = group_with(each.labels or {}, names)
                for span_start, merged in each.spans(resolution).items():
                    if start <= span_start < end:
                        await turn.pause()
                        earlier = pieces.get((span_start, group))
                        if earlier is None:
                            pieces[span_start, group] = earlier = merged
                            byte_count += _PIECE_BYTES
                        else:
                            byte_count -= earlier.sketch_bytes
                            earlier.merge(merged)
                        byte_count += earlier.sketch_bytes
                if byte_count > MAX_BYTES:
                    raise TooComplex(
                        f"the hourly archive of {day} has more than {MAX_BYTES // 2**20} MiB of statistics of these "
                        "groups; use a narrower filter, for example some hours of the day, or a longer `bucket`",
                        limit="max_archive_bytes",
                    )
        for piece in _in_order_of_time(pieces):
            yield piece


def _in_order_of_time(pieces: Mapping[tuple[datetime, Group], MergedStatistics]) -> list[ArchivedPiece]:
    return [(start, group, merged) for (start, group), merged in sorted(pieces.items(), key=lambda item: item[0][0])]
