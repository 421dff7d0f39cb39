"""An empty database for each test, whose results are added to rollups."""

import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import grpc.aio
import numpy as np
import pytest
from msgspec.structs import replace

from graphql_api.results.rolled_up_results import Group
from graphql_api.results.summaries import TimeBucket, summarize, summarize_over_time
from storage.documents import Labels, Problem, ProblemCode, Result, Status, Tombstone, document_paths, labels
from storage.firestore import encoding
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from storage.rollups.checkpoint_store import CheckpointStore
from storage.rollups.merged_statistics import MergedStatistics
from storage.rollups.rollup_store import RollupStore
from storage.rollups.series import BY_SERIES, TOTAL
from tests.triggers.result_database import SUBMITTER, Killed, ResultDatabase, add, selection
from triggers.rollups.report import Report
from triggers.rollups.rollup_builder import RollupBuilder


class Database(ResultDatabase):
    """A database whose results a test adds to rollups."""

    def __init__(self, channel: grpc.aio.Channel, shards: int = 2) -> None:
        super().__init__(channel, shards)
        self.checkpoints = CheckpointStore(self.firestore, SUBMITTER)
        self.rollups = RollupStore(self.firestore, SUBMITTER, TOTAL)
        self.series_rollups = RollupStore(self.firestore, SUBMITTER, BY_SERIES)
        self.data: dict[str, Sequence[float]] = {}
        """The data of each sample, also of those without a result."""

    async def build(self, *, min_results: int = 0, seconds: float = 60.0, killed_at: int = 0) -> Report:
        """Build the rollups, and return what was done. Raises `Killed` in the middle of write number `killed_at`."""
        deadline = time.monotonic() + seconds
        report = Report()
        writer = cast(GroupCommitWriter, _KilledWriter(self.writer, killed_at))
        builder = RollupBuilder(
            self.firestore, writer, SUBMITTER, shards=self.shards, deadline=deadline, min_results=min_results
        )
        await builder.run(report)
        return report

    async def compute(
        self, timestamp: datetime, data: Sequence[float], having: Labels | None = None, sample_id: str = ""
    ) -> str:
        """Store the result of a sample, or replace it. Return the id of the sample."""
        sample_id = sample_id or str(uuid.uuid4())
        if having:
            await self.put(document_paths.series(SUBMITTER, labels.term(having)), {"labels": dict(having)})
        await self.write({sample_id: self.computed(sample_id, timestamp, data, having or {})})
        self.data[sample_id] = data
        return sample_id

    async def write(self, results: dict[str, Result]) -> None:
        """Store results."""
        await self._put_results({sample_id: result.fields() for sample_id, result in results.items()})
        self.results |= results

    async def supersede(self, sample_id: str) -> None:
        """Store that another sample corrects this one."""
        result = replace(self.results.pop(sample_id), status=Status.SUPERSEDED, superseded_by=str(uuid.uuid4()))
        await self._put_results({sample_id: result.fields()})

    async def delete(self, sample_id: str) -> None:
        """Replace a result with a tombstone."""
        result = self.results.pop(sample_id)
        tombstone = Tombstone(SUBMITTER, sample_id, "", result.shard, datetime.now().astimezone(), "")
        await self._put_results({sample_id: tombstone.fields()})

    async def fail(self, sample_id: str = "") -> None:
        """Store a FAILED result, of a new sample or instead of another result."""
        sample_id = sample_id or str(uuid.uuid4())
        self.results.pop(sample_id, None)
        problem = Problem("$", "not a sample", ProblemCode.NOT_COMPUTABLE)
        shard = document_paths.shard(sample_id, self.shards)
        failed = Result(SUBMITTER, sample_id, datetime.now().astimezone(), shard, Status.FAILED, problem=problem)
        await self._put_results({sample_id: failed.fields()})

    async def expire(self, sample_id: str) -> None:
        """Delete the document of a result, as Firestore does after its time to live."""
        del self.results[sample_id]
        await self.remove(document_paths.result(SUBMITTER, sample_id))

    async def _put_results(self, documents: dict[str, dict[str, object]]) -> None:
        writes = [
            encoding.to_write(self.firestore.name(document_paths.result(SUBMITTER, sample_id)), fields)
            for sample_id, fields in documents.items()
        ]
        for outcome in await self.writer.write_all(writes):
            assert not isinstance(outcome, Exception), outcome

    def expected(
        self, start: datetime, end: datetime, having: Labels | None = None, names: Sequence[str] = ()
    ) -> dict[Group, MergedStatistics]:
        """Return the statistics of all results with a time stamp from `start` up to `end`, and with labels, by group.

        Without `names`, all results are one group, which can be empty.
        """
        groups: dict[Group, MergedStatistics] = {} if names else {(): MergedStatistics()}
        for result in self.selected(start, end, having or {}):
            group = tuple(result.labels.get(name) for name in names)
            add(result, groups.setdefault(group, MergedStatistics()))
        for merged in groups.values():
            merged.finish()
        return groups

    def values(self, start: datetime, end: datetime, having: Labels, group: Mapping[str, str | None]) -> Any:
        """Return the concatenated data of the samples of a group."""
        selected = [
            self.data[result.sample_id]
            for result in self.selected(start, end, having)
            if all(result.labels.get(name) == value for name, value in group.items())
        ]
        return np.concatenate([[], *selected])

    async def summary(
        self, start: datetime, end: datetime, having: Labels | None = None, names: Sequence[str] = ()
    ) -> Mapping[Group, MergedStatistics]:
        """Return the summary of the results with a time stamp from `start` up to `end`, and with labels, by group."""
        total, groups = await summarize(self.store, SUBMITTER, selection(start, end, having or {}), names)
        return groups if names else {(): total}

    async def buckets(
        self,
        start: datetime,
        end: datetime,
        bucket: TimeBucket,
        having: Labels | None = None,
        names: Sequence[str] = (),
    ) -> Mapping[tuple[datetime, Group], MergedStatistics]:
        """Return the summaries of the time buckets of these results."""
        return await summarize_over_time(self.store, SUBMITTER, selection(start, end, having or {}), bucket, names)


async def no_pause() -> None:
    """Let no other work run."""


class _KilledWriter:
    """A writer that stores a part of the call with the number `killed_at`, or nothing, and raises `Killed`."""

    def __init__(self, writer: GroupCommitWriter, killed_at: int) -> None:
        self._writer = writer
        self._remaining = killed_at

    async def write(self, write: Any, submitter: str = "") -> Any:
        """Store one document."""
        (outcome,) = await self.write_all([write], submitter)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def write_all(self, writes: Sequence[Any], submitter: str = "") -> list[Any]:
        """Store some documents."""
        self._remaining -= 1
        if self._remaining == 0:
            await self._writer.write_all(writes[: len(writes) // 2], submitter)
            raise Killed
        return await self._writer.write_all(writes, submitter)


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


@pytest.fixture
def database(channel: grpc.aio.Channel) -> Database:
    """An empty database."""
    return Database(channel)
