"""Firestore applies a deletion, but its response is lost. The Commit is sent again, and its conditions fail."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from graphql_api.auth.audit_entry import AuditFacts
from graphql_api.auth.audit_log import AuditLog
from graphql_api.budgets.loop_turns import LoopTurns
from graphql_api.results.deletion.deleter import Deleter
from graphql_api.results.deletion.deletion_store import DeletionStore
from graphql_api.results.store import Store
from storage.documents import NotFound
from storage.documents.chunks import MAX_INLINE_BYTES
from storage.firestore.client import Firestore
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from tests.graphql_api.results.operator import SAMPLE, Operator
from tests.stack import Stack

LARGE = {"time_stamp": "2019-05-01T06:00:00Z", "data": [0.5] * (MAX_INLINE_BYTES // 2)}


@pytest.fixture
async def writer(own_firestore: Firestore) -> AsyncIterator[GroupCommitWriter]:
    """A writer of the shared stack."""
    writer = GroupCommitWriter(own_firestore, timeout_seconds=30)
    yield writer
    await writer.close()


@pytest.fixture
def lossy_firestore(own_firestore: Firestore, monkeypatch: pytest.MonkeyPatch) -> Firestore:
    """A client that loses the response of its first Commit."""
    commit = own_firestore._commit

    async def lose_response(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(own_firestore, "_commit", commit)
        await commit(*arguments, **options)
        raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())

    monkeypatch.setattr(own_firestore, "_commit", lose_response)
    return own_firestore


async def test_one_sample_is_deleted_although_the_response_is_lost(
    stack: Stack, lossy_firestore: Firestore, writer: GroupCommitWriter
) -> None:
    """The audit log has one entry. A second deletion does not find the sample."""
    operator = Operator(stack, "lost-one", [SAMPLE])
    turns = LoopTurns()
    audit_log = AuditLog(lossy_firestore, writer, turns)
    deleter = Deleter(Store(lossy_firestore, turns, shards=1), DeletionStore(lossy_firestore, writer))
    entry = audit_log.entry("lost-one", actor="test", action="samples.deleted", facts=AuditFacts())

    await deleter.delete_one("lost-one", operator.ids[0], "wrong", entry)

    with pytest.raises(NotFound):
        await deleter.delete_one("lost-one", operator.ids[0], "wrong", entry)
    assert [each.action for each in await audit_log.read("lost-one", 10)].count("samples.deleted") == 1


async def test_each_deleted_sample_counts_although_the_response_is_lost(
    stack: Stack, lossy_firestore: Firestore, writer: GroupCommitWriter
) -> None:
    """Their chunks are deleted too."""
    operator = Operator(stack, "lost-many", [SAMPLE, LARGE, SAMPLE])
    store = Store(lossy_firestore, LoopTurns(), shards=1)
    headers = await store.headers("lost-many", operator.ids)
    chunks = [path for header in headers.values() for path in header.chunk_paths()]

    assert await DeletionStore(lossy_firestore, writer).delete("lost-many", operator.ids, "wrong") == (3, set())

    assert chunks
    assert await lossy_firestore.batch_get(chunks) == {}


async def test_the_tombstone_of_another_deletion_is_not_a_lost_response(
    stack: Stack, own_firestore: Firestore, writer: GroupCommitWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two deletions with the same reason read at the same time. One of them deletes some samples of the other first."""
    operator = Operator(stack, "lost-to-another", [SAMPLE] * 8)
    others, commit, now = operator.ids[:4], own_firestore.commit, await own_firestore.now()

    async def read_time() -> Any:
        return now

    async def commit_after_another(*arguments: Any) -> Any:
        monkeypatch.setattr(own_firestore, "commit", commit)
        assert await DeletionStore(own_firestore, writer).delete("lost-to-another", others, "wrong") == (4, set())
        monkeypatch.undo()
        return await commit(*arguments)

    monkeypatch.setattr(own_firestore, "now", read_time)
    monkeypatch.setattr(own_firestore, "commit", commit_after_another)

    deleted, remaining = await DeletionStore(own_firestore, writer).delete("lost-to-another", operator.ids, "wrong")

    assert (deleted, remaining) == (4, set())
    assert operator.query("{ samples { totalCount } results { totalCount } }") == {
        "samples": {"totalCount": 0},
        "results": {"totalCount": 0},
    }
