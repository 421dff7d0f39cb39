"""An empty database for each test, whose results end in the hourly archive."""

import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc.aio
import numpy as np
import pytest

from graphql_api.budgets.loop_turns import LoopTurns
from graphql_api.results.filters import Bound, Selection
from graphql_api.results.store import Store
from storage.documents import Archiving, Labels, Result, Status, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from storage.hourly_archive.archive_store import ArchiveStore
from storage.rollups.merged_statistics import FIELDS, MergedStatistics, ResultStatistics
from storage.rollups.rollup import EARLIEST, LATEST
from triggers.computation import summarize as statistics_of
from triggers.hourly_archive.archiver import Archiver
from triggers.hourly_archive.due_results import SETTLED
from triggers.rollups.report import Report
from triggers.rollups.rollup_builder import RollupBuilder
from triggers.statistics.distribution import sketch

SUBMITTER = "one"
NO_LABELS: Labels = {}
FOR_EVER = Archiving()
YESTERDAY = datetime.now(UTC) - timedelta(days=1)
TOMORROW = datetime.now(UTC) + timedelta(days=1)


class Killed(Exception):
    """The process of an archiver was killed."""


class Database:
    """An empty database, with results of one submitter that a test stores as the function does."""

    def __init__(self, channel: grpc.aio.Channel, shards: int = 2) -> None:
        self.firestore = Firestore(channel, f"projects/{uuid.uuid4()}/databases/(default)", timeout_seconds=30)
        self.writer = GroupCommitWriter(self.firestore, timeout_seconds=30)
        self.shards = shards
        self.store = Store(self.firestore, LoopTurns(), shards=shards)
        self.archive = ArchiveStore(self.firestore, SUBMITTER)
        self.results: dict[str, Result] = {}
        """The results that count, in `results` or in the archive."""

    async def compute(
        self,
        timestamp: datetime,
        data: Sequence[float],
        given: Labels = NO_LABELS,
        *,
        sample_id: str = "",
        expire_at: datetime | None = YESTERDAY,
        archiving: Archiving | None = FOR_EVER,
    ) -> str:
        """Store the result of a sample that does not exist any more. Return the id of the sample."""
        sample_id = sample_id or str(uuid.uuid4())
        result = Result(
            SUBMITTER, sample_id, timestamp, document_paths.shard(sample_id, self.shards), Status.COMPUTED,
            timestamp=timestamp, statistics=statistics_of(np.array(data)), sketch=sketch(sorted(data)), labels=given,
            expire_at=expire_at, archiving=archiving,
        )  # fmt: skip
        await self.put(document_paths.result(SUBMITTER, sample_id), result.fields())
        self.results[sample_id] = result
        return sample_id

    async def store_sample(self, sample_id: str) -> None:
        """Store a document where the sample of a result is."""
        await self.put(document_paths.sample(SUBMITTER, sample_id), {"shard": 0})

    async def sample(self, sample_id: str) -> Any:
        """Return the stored document of a sample."""
        path = document_paths.sample(SUBMITTER, sample_id)
        return (await self.firestore.batch_get([path]))[path]

    async def delete_sample(self, sample_id: str) -> None:
        """Delete the sample, as Firestore does after its time to live."""
        path = document_paths.sample(SUBMITTER, sample_id)
        await self.writer.write(encoding.to_delete(self.firestore.name(path)))

    async def put(self, path: str, fields: Mapping[str, object]) -> None:
        """Store a document."""
        await self.writer.write(encoding.to_write(self.firestore.name(path), fields))

    async def stored(self) -> set[str]:
        """Return the ids of the results that are not in the archive."""
        paths = [document_paths.result(SUBMITTER, sample_id) for sample_id in self.results]
        return {path.rpartition("/")[2] for path in (await self.firestore.batch_get(paths) if paths else ())}

    def archiver(self, *, seconds: float = 60.0, settled_at: datetime | None = None) -> Archiver:
        """Return an archiver of the results whose samples are gone, and were gone at `settled_at`."""
        archiver = Archiver(self.firestore, SUBMITTER, shards=self.shards, deadline=time.monotonic() + seconds)
        if settled_at is not None:
            archiver._due._firestore = _FirestoreAt(self.firestore, settled_at + SETTLED)  # type: ignore[assignment]
        return archiver

    async def move(self) -> int:
        """Move all due results into the archive. Return their number."""
        archiver = self.archiver()
        await archiver.run()
        return archiver.moved

    async def killed(self, *, after: int, is_applied: bool) -> None:
        """Move results until the process is killed in the Commit with the number `after`, which is applied or not."""
        archiver = self.archiver()
        archiver._firestore = _KilledFirestore(self.firestore, after, is_applied=is_applied)  # type: ignore[assignment]
        await archiver.run()

    async def build(self) -> None:
        """Build the rollups."""
        deadline = time.monotonic() + 60
        builder = RollupBuilder(
            self.firestore, self.writer, SUBMITTER, shards=self.shards, deadline=deadline, min_results=0
        )
        await builder.run(Report())

    def expected(
        self, start: datetime = EARLIEST, end: datetime = LATEST, having: Labels = NO_LABELS
    ) -> MergedStatistics:
        """Return the statistics of all results with a time stamp from `start` up to `end` and the given labels."""
        merged = MergedStatistics()
        for result in self.results.values():
            assert result.timestamp is not None
            if start <= result.timestamp < end and having.items() <= result.labels.items():
                values = (getattr(result.statistics, name) for name in FIELDS)
                merged.add(ResultStatistics(*values), result.sketch)
        merged.finish()
        return merged


class FirestoreProxy:
    """Passes calls on to Firestore."""

    def __init__(self, firestore: Firestore) -> None:
        self.firestore = firestore

    def __getattr__(self, name: str) -> Any:
        return getattr(self.firestore, name)


class _FirestoreAt(FirestoreProxy):
    """Firestore whose clock shows a given time."""

    def __init__(self, firestore: Firestore, now: datetime) -> None:
        super().__init__(firestore)
        self._now = now

    async def now(self) -> datetime:
        """Return the time."""
        return self._now


class _KilledFirestore(FirestoreProxy):
    """Firestore that the process of an archiver calls until it ends."""

    def __init__(self, firestore: Firestore, after: int, *, is_applied: bool) -> None:
        super().__init__(firestore)
        self._remaining = after
        self._is_applied = is_applied

    async def commit(self, writes: Sequence[Any]) -> None:
        """Commit, or end the process before or after it."""
        self._remaining -= 1
        if self._remaining >= 0:
            await self.firestore.commit(writes)
            return
        if self._is_applied:
            await self.firestore.commit(writes)
        raise Killed


def selection(start: datetime = EARLIEST, end: datetime = LATEST, having: Labels = NO_LABELS) -> Selection:
    """Select the results with a time stamp from `start` up to `end` and the given labels."""
    return Selection([Bound("timestamp", ">=", start), Bound("timestamp", "<", end)], having)


@pytest.fixture
def database(channel: grpc.aio.Channel) -> Database:
    """An empty database."""
    return Database(channel)
