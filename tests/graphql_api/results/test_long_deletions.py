"""A deletion that takes long does not count as INTERRUPTED while it runs."""

import asyncio

import pytest

from graphql_api.budgets.loop_turns import LoopTurns
from graphql_api.results.deletion.deleter import Deleter
from graphql_api.results.deletion.deletion import Deletion, DeletionState
from graphql_api.results.deletion.deletion_store import DeletionStore
from graphql_api.results.jobs import job_runner
from graphql_api.results.store import Store
from storage.documents import document_paths
from storage.documents.chunks import MAX_INLINE_BYTES
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.messages import Write
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from tests.stack import PATIENCE_SECONDS, Stack

SUBMITTER = "long-deletion"
SMALL = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1]}
LARGE = {"time_stamp": "2019-05-01T06:00:00Z", "data": [0.5] * (MAX_INLINE_BYTES // 2)}


class Records(DeletionStore):
    """Keeps each record."""

    def __init__(self, firestore: Firestore, writer: GroupCommitWriter) -> None:
        super().__init__(firestore, writer)
        self.stored: list[Deletion] = []
        self.ended = asyncio.Event()

    async def write(self, submitter: str, job: Deletion, *entries: Write) -> None:
        """Store a record."""
        await super().write(submitter, job, *entries)
        self.stored.append(job)
        if job.state is not DeletionState.RUNNING:
            self.ended.set()


async def test_the_progress_is_stored_after_each_large_sample(
    stack: Stack, own_firestore: Firestore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch can have thousands of chunks, and a deletion without a new record for 30 seconds is INTERRUPTED."""
    monkeypatch.setattr(job_runner, "_RECORD_INTERVAL_SECONDS", 0.0)
    key = stack.new_key(SUBMITTER)
    ids = [stack.submit(sample, key=key)["id"] for sample in (SMALL, LARGE, SMALL, LARGE)]
    writer = GroupCommitWriter(own_firestore, timeout_seconds=30)
    records = Records(own_firestore, writer)
    deletions = Deleter(Store(own_firestore, LoopTurns(), shards=1), records)
    entry = encoding.to_write(own_firestore.name(document_paths.audit_entry(SUBMITTER, "entry")), {})

    await deletions.delete_ids(SUBMITTER, ids, "too large", lambda _: entry)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await records.ended.wait()
    await deletions.close()
    await writer.close()

    assert records.stored[-1].state is DeletionState.FINISHED
    assert [each.deleted for each in records.stored] == [0, 0, 0, 4, 4], "start, two large samples, batch, end"
