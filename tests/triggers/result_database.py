"""A database of results, for the tests of rollups and of the hourly archive."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import grpc.aio
import numpy as np

from graphql_api.budgets.loop_turns import LoopTurns
from graphql_api.results.filters import Bound, Selection
from graphql_api.results.store import Store
from storage.documents import Labels, Result, Status, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from storage.rollups.merged_statistics import FIELDS, MergedStatistics, ResultStatistics
from storage.rollups.rollup import EARLIEST, LATEST
from triggers.computation import summarize
from triggers.statistics.distribution import sketch

SUBMITTER = "one"
NO_LABELS: Labels = {}


class Killed(Exception):
    """The process under test was killed."""


class ResultDatabase:
    """An empty database, with results of one submitter that a test stores as the function does."""

    def __init__(self, channel: grpc.aio.Channel, shards: int = 2) -> None:
        self.firestore = Firestore(channel, f"projects/{uuid.uuid4()}/databases/(default)", timeout_seconds=30)
        self.writer = GroupCommitWriter(self.firestore, timeout_seconds=30)
        self.shards = shards
        self.store = Store(self.firestore, LoopTurns(), shards=shards)
        self.results: dict[str, Result] = {}
        """The results that count, by sample id."""

    def computed(self, sample_id: str, timestamp: datetime, data: Sequence[float], labels: Labels) -> Result:
        """Return the result of a sample, which is not stored."""
        shard = document_paths.shard(sample_id, self.shards)
        return Result(
            SUBMITTER, sample_id, timestamp, shard, Status.COMPUTED,
            timestamp=timestamp, statistics=summarize(np.array(data)), sketch=sketch(sorted(data)), labels=labels,
        )  # fmt: skip

    async def put(self, path: str, fields: Mapping[str, object]) -> None:
        """Store a document."""
        await self.writer.write(encoding.to_write(self.firestore.name(path), fields))

    async def remove(self, path: str) -> None:
        """Delete a document, as Firestore does after its time to live."""
        await self.writer.write(encoding.to_delete(self.firestore.name(path)))

    def selected(self, start: datetime, end: datetime, having: Labels) -> Iterator[Result]:
        """Yield all results with a time stamp from `start` up to `end`, and with labels."""
        for result in self.results.values():
            assert result.timestamp is not None
            if start <= result.timestamp < end and having.items() <= result.labels.items():
                yield result


def add(result: Result, merged: MergedStatistics) -> None:
    """Add a result to merged statistics."""
    values = (getattr(result.statistics, name) for name in FIELDS)
    merged.add(ResultStatistics(*values), result.sketch)


def selection(start: datetime = EARLIEST, end: datetime = LATEST, having: Labels = NO_LABELS) -> Selection:
    """Select the results with a time stamp from `start` up to `end`, and with labels."""
    return Selection([Bound("timestamp", ">=", start), Bound("timestamp", "<", end)], having)
