"""Moves the due results of a submitter into the hourly archive.

One Commit deletes some results, and writes the archive with these results added. The Commit fails if one of these
documents has changed since it was read. A result is therefore always either in `results` or in the archive. This holds
even if the process is killed, if the response to a Commit is lost, or if several instances work at once.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from storage.documents import Archiving, Labels, labels
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import PreconditionFailed
from storage.firestore.messages import Document, Write
from storage.hourly_archive.archive_store import ArchiveStore
from storage.rollups.merged_statistics import MergedStatistics
from storage.rollups.result_queries import add_result, timestamp_of
from storage.rollups.rollup import Resolution
from triggers.hourly_archive.due_results import DueResults
from triggers.schedules.event_pause import EventPause

MAX_RESULTS = 200
"""The maximum number of results that one Commit moves. It is small, because other writes wait for a Commit."""
MAX_BYTES = 8 * 2**20
"""A Commit has at most 10 MiB."""
MAX_WAIT = timedelta(days=3)
"""Firestore usually deletes an expired sample within a day."""

logger = logging.getLogger("triggers")


@dataclass(slots=True)
class _Group:
    """Results of a day with the same labels and the same retention, with their statistics per hour."""

    day: date
    labels: Labels
    archiving: Archiving
    results: list[Document] = field(default_factory=list)
    hours: dict[datetime, MergedStatistics] = field(default_factory=lambda: defaultdict(MergedStatistics))


class Archiver:
    """Moves the results of one submitter until `deadline`, a time of `time.monotonic`. Belongs to one event loop."""

    def __init__(self, firestore: Firestore, submitter: str, *, shards: int, deadline: float) -> None:
        self._firestore = firestore
        self._submitter = submitter
        self._due = DueResults(firestore, submitter, shards=shards)
        self._archive = ArchiveStore(firestore, submitter)
        self._deadline = deadline
        self._pause = EventPause()
        self.moved = 0
        """The number of results that were moved."""
        self.is_finished = True
        """Whether this run has moved all due results that it can move."""

    async def run(self) -> None:
        """Move all due results. Raises `Unavailable` or `FirestoreError`. Results that were moved before stay moved."""
        async with aclosing(self._due.batches()) as batches:
            async for documents in batches:
                for groups in _parts(await self._groups(documents)):
                    if self._is_late():
                        return
                    await self._move(groups)
                if self._is_late():
                    return
        since = self._due.waiting_since
        if since is not None and await self._firestore.now() - since > MAX_WAIT:
            logger.warning(
                "hourly archive of %s: a result that expired at %s waits, because Firestore has not deleted its sample",
                self._submitter,
                since.isoformat(),
            )

    def _is_late(self) -> bool:
        """Return whether the deadline has passed. The run is then not finished."""
        if time.monotonic() < self._deadline:
            return False
        self.is_finished = False
        return True

    async def _groups(self, documents: Iterable[Document]) -> list[_Group]:
        """Return results in groups of up to `MAX_RESULTS`, ordered by day and labels."""
        groups: dict[tuple[str, Archiving], list[_Group]] = defaultdict(list)
        for document in documents:
            await self._pause()
            hour = Resolution.HOUR.start_of(timestamp_of(document))
            stored = document.fields
            fields = {name: encoding.from_value(stored[name]) for name in ("labels", "archiving") if name in stored}
            series, archiving = labels.from_fields(fields), Archiving.from_fields(fields) or Archiving()
            parts = groups[self._archive.path(hour.date(), series), archiving]
            if not parts or len(parts[-1].results) == MAX_RESULTS:
                parts.append(_Group(hour.date(), series, archiving))
            parts[-1].results.append(document)
            add_result(parts[-1].hours[hour], document)
        return [group for key in sorted(groups, key=lambda key: key[0]) for group in groups[key]]

    async def _move(self, groups: Sequence[_Group]) -> None:
        """Move the results of groups in one Commit, or in several if it would be too large."""
        keys = {
            self._archive.path(group.day, series): (group.day, series)
            for group in groups
            for series in (None, group.labels)
        }
        days = dict(zip(keys, await self._archive.read(keys.values()), strict=True))
        for group in groups:
            for series in (None, group.labels):
                await self._pause()
                days[self._archive.path(group.day, series)].add(group.hours, group.archiving)
        writes = [self._archive.to_write(day) for day in days.values()]
        if len(groups) > 1 and sum(write.ByteSize() for write in writes) > MAX_BYTES:
            await self._move(groups[: len(groups) // 2])
            await self._move(groups[len(groups) // 2 :])
            return
        results = [result for group in groups for result in group.results]
        try:
            await self._firestore.commit([*map(_deletion, results), *writes])
        except PreconditionFailed:
            self.is_finished = False
            logger.info(
                "hourly archive of %s: a document was changed during the run; the next run continues", self._submitter
            )
        else:
            self.moved += len(results)


def _parts(groups: Iterable[_Group]) -> Iterator[list[_Group]]:
    """Yield lists of consecutive groups with up to `MAX_RESULTS` results in total."""
    part: list[_Group] = []
    results = 0
    for group in groups:
        if part and results + len(group.results) > MAX_RESULTS:
            yield part
            part, results = [], 0
        part.append(group)
        results += len(group.results)
    if part:
        yield part


def _deletion(result: Document) -> Write:
    write = encoding.to_delete(result.name)
    write.current_document.update_time.CopyFrom(result.update_time)
    return write
