"""A Firestore with the published indexes, and an empty database in it for each test."""

import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import count
from typing import Any

import grpc.aio
import numpy as np
import pytest

from graphql_api.budgets.loop_turns import LoopTurns
from graphql_api.results.filters import Bound, Selection
from graphql_api.results.store import Store
from graphql_api.results.summaries import TimeBucket, summarize, summarize_over_time
from storage.documents import Result, Status, Tombstone, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.group_commit_writer import GroupCommitWriter
from storage.rollups.merged_statistics import FIELDS, MergedStatistics, ResultStatistics
from storage.rollups.rollup import Checkpoint, Rollup
from storage.rollups.rollup_store import RollupStore
from tests.infra.firestore.server_process import FirestoreProcess
from triggers.computation import summarize as statistics_of
from triggers.distribution import sketch
from triggers.rollups.rollup_builder import Report, RollupBuilder

SUBMITTER = "one"


class Database:
    """An empty database, with results of one submitter that a test stores as the function does."""

    def __init__(self, channel: grpc.aio.Channel, shards: int = 2) -> None:
        self.firestore = Firestore(channel, f"projects/{uuid.uuid4()}/databases/(default)", timeout_seconds=30)
        self.writer = GroupCommitWriter(self.firestore, timeout_seconds=30)
        self.shards = shards
        self.store = Store(self.firestore, LoopTurns(), shards=shards)
        self.rollups = RollupStore(self.firestore, SUBMITTER)
        self.results: dict[str, Result] = {}

    async def build(self, *, min_results: int = 0, seconds: float = 60.0, killed_at: int = 0) -> Report:
        """Build the rollups, and return what was done. Raises `Killed` in the middle of the write `killed_at`."""
        deadline = time.monotonic() + seconds
        report = Report()
        builder = RollupBuilder(
            self.firestore, self.writer, SUBMITTER, shards=self.shards, deadline=deadline, min_results=min_results
        )
        if killed_at:
            _kill(builder._rollups, killed_at)
        await builder.run(report)
        return report

    async def compute(self, timestamp: datetime, data: Sequence[float], sample_id: str = "") -> str:
        """Store the result of a sample, or replace it. Return the id of the sample."""
        sample_id = sample_id or str(uuid.uuid4())
        result = Result(
            SUBMITTER, sample_id, timestamp, document_paths.shard(sample_id, self.shards), Status.COMPUTED,
            timestamp=timestamp, statistics=statistics_of(np.array(data)), sketch=sketch(sorted(data)),
        )  # fmt: skip
        await self.write({sample_id: result})
        return sample_id

    async def write(self, results: dict[str, Result]) -> None:
        """Store results."""
        await self._put({sample_id: result.fields() for sample_id, result in results.items()})
        self.results |= results

    async def supersede(self, sample_id: str) -> None:
        """Store that another sample corrects this one."""
        result = replace(self.results.pop(sample_id), status=Status.SUPERSEDED, superseded_by=str(uuid.uuid4()))
        await self._put({sample_id: result.fields()})

    async def delete(self, sample_id: str) -> None:
        """Replace a result with a tombstone."""
        result = self.results.pop(sample_id)
        tombstone = Tombstone(SUBMITTER, sample_id, "", result.shard, datetime.now().astimezone(), "")
        await self._put({sample_id: tombstone.fields()})

    async def expire(self, sample_id: str) -> None:
        """Delete the document of a result, as Firestore does after its time to live."""
        del self.results[sample_id]
        name = self.firestore.name(document_paths.result(SUBMITTER, sample_id))
        await self.writer.write(encoding.to_delete(name))

    async def _put(self, documents: dict[str, dict[str, object]]) -> None:
        writes = [
            encoding.to_write(self.firestore.name(document_paths.result(SUBMITTER, sample_id)), fields)
            for sample_id, fields in documents.items()
        ]
        for outcome in await self.writer.write_all(writes):
            assert not isinstance(outcome, Exception), outcome

    def expected(self, start: datetime, end: datetime) -> MergedStatistics:
        """Return the statistics of all results with a time stamp from `start` up to `end`."""
        merged = MergedStatistics()
        for result in self.results.values():
            assert result.timestamp is not None
            if start <= result.timestamp < end:
                values = (getattr(result.statistics, name) for name in FIELDS)
                merged.add(ResultStatistics(*values), result.sketch)
        merged.finish()
        return merged

    async def summary(self, start: datetime, end: datetime) -> MergedStatistics:
        """Return the summary of the results with a time stamp from `start` up to `end`."""
        return (await summarize(self.store, SUBMITTER, selection(start, end)))[0]

    async def buckets(self, start: datetime, end: datetime, bucket: TimeBucket) -> dict[datetime, MergedStatistics]:
        """Return the summaries of the time buckets of these results."""
        found = await summarize_over_time(self.store, SUBMITTER, selection(start, end), bucket)
        return {start: merged for (start, _), merged in found.items()}


async def no_pause() -> None:
    """Let no other work run."""


class Killed(Exception):
    """The process of a builder was killed."""


def _kill(rollups: RollupStore, killed_at: int) -> None:
    """Let the write with the number `killed_at` store a part of its documents, or none, and no later one happen."""
    write, write_checkpoint = rollups.write, rollups.write_checkpoint
    numbers = count(1)

    async def write_a_part(writer: GroupCommitWriter, written: Sequence[Rollup]) -> None:
        if next(numbers) == killed_at:
            await write(writer, written[: len(written) // 2])
            raise Killed
        await write(writer, written)

    async def write_no_checkpoint(writer: GroupCommitWriter, checkpoint: Checkpoint) -> Checkpoint:
        if next(numbers) == killed_at:
            raise Killed
        return await write_checkpoint(writer, checkpoint)

    rollups.write, rollups.write_checkpoint = write_a_part, write_no_checkpoint  # type: ignore[assignment, method-assign]


def selection(start: datetime, end: datetime) -> Selection:
    """Select the results with a time stamp from `start` up to `end`."""
    return Selection([Bound("timestamp", ">=", start), Bound("timestamp", "<", end)])


def figures(merged: MergedStatistics) -> tuple[Any, ...]:
    """Return all that a summary shows."""
    if not merged.count:
        return (merged.results,)
    return (
        merged.results,
        merged.count,
        merged.minimum,
        merged.maximum,
        merged.mean(),
        merged.standard_deviation(),
        merged.results_without_sketch,
        merged.quantiles,
    )


@pytest.fixture(scope="session")
def indexed_firestore(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirestoreProcess]:
    """A Firestore that refuses queries without a published index."""
    process = FirestoreProcess(tmp_path_factory.mktemp("rollups"), "--indexes", "infra/gcp/firestore.indexes.json")
    process.start()
    yield process
    process.close()


@pytest.fixture
async def channel(indexed_firestore: FirestoreProcess) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to that Firestore."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{indexed_firestore.port}") as channel:
        yield channel


@pytest.fixture
def database(channel: grpc.aio.Channel) -> Database:
    """An empty database."""
    return Database(channel)
