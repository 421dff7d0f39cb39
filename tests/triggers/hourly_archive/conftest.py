"""An empty database for each test, whose results end in the hourly archive."""

import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc.aio
import pytest
from msgspec.structs import replace

from storage.documents import Archiving, Labels, document_paths
from storage.firestore.client import Firestore
from storage.hourly_archive.archive_store import ArchiveStore
from storage.rollups.merged_statistics import MergedStatistics
from storage.rollups.rollup import EARLIEST, LATEST
from tests.triggers.result_database import NO_LABELS, SUBMITTER, Killed, ResultDatabase, add
from triggers.hourly_archive.archiver import Archiver
from triggers.hourly_archive.due_results import SETTLED
from triggers.rollups.report import Report
from triggers.rollups.rollup_builder import RollupBuilder

FOR_EVER = Archiving()
YESTERDAY = datetime.now(UTC) - timedelta(days=1)
TOMORROW = datetime.now(UTC) + timedelta(days=1)


class Database(ResultDatabase):
    """A database whose results end in the hourly archive. `results` also has those in the archive."""

    def __init__(self, channel: grpc.aio.Channel, shards: int = 2) -> None:
        super().__init__(channel, shards)
        self.archive = ArchiveStore(self.firestore, SUBMITTER)

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
        result = replace(self.computed(sample_id, timestamp, data, given), expire_at=expire_at, archiving=archiving)
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
        await self.remove(document_paths.sample(SUBMITTER, sample_id))

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
        for result in self.selected(start, end, having):
            add(result, merged)
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


@pytest.fixture
def database(channel: grpc.aio.Channel) -> Database:
    """An empty database."""
    return Database(channel)
