"""A large sample that is deleted while its raw document is read is not a damaged sample."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from graphql_api.budgets.loop_turns import LoopTurns
from graphql_api.results.deletion.deletion_store import DeletionStore
from graphql_api.results.store import Store
from storage.documents import InvalidSample, NotFound, document_paths
from storage.documents.chunks import MAX_INLINE_BYTES
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from tests.stack import Stack

SUBMITTER = "read-and-delete"
LARGE = {"time_stamp": "2019-05-01T06:00:00Z", "data": [0.5] * (MAX_INLINE_BYTES // 2)}


class Reader:
    """Reads one sample, and changes it before its chunks are read."""

    def __init__(self, stack: Stack, firestore: Firestore, writer: GroupCommitWriter) -> None:
        self.stack, self.firestore, self.writer = stack, firestore, writer
        self.key = stack.new_key(SUBMITTER)
        self.store = Store(firestore, LoopTurns(), shards=1)

    def submit(self) -> str:
        """Submit the sample. Return its id."""
        return str(self.stack.submit(LARGE, key=self.key, idempotency_key="large")["id"])

    async def delete(self, sample_id: str) -> None:
        """Delete the sample with its chunks."""
        await DeletionStore(self.firestore, self.writer).delete(SUBMITTER, [sample_id], "wrong")


@pytest.fixture
async def reader(stack: Stack, own_firestore: Firestore) -> AsyncIterator[Reader]:
    """A reader of the shared stack."""
    writer = GroupCommitWriter(own_firestore, timeout_seconds=30)
    yield Reader(stack, own_firestore, writer)
    await writer.close()


async def test_a_sample_that_is_deleted_while_it_is_read_does_not_exist(reader: Reader) -> None:
    """Its chunks are deleted after its header was read."""
    sample_id = reader.submit()

    with pytest.raises(NotFound):
        await reader.store.raw(SUBMITTER, sample_id, lambda _: reader.delete(sample_id))


async def test_a_sample_that_is_submitted_again_while_it_is_read_is_read_again(reader: Reader) -> None:
    """The new sample has other chunks."""
    sample_id = reader.submit()
    sizes: list[int] = []

    async def replace(size: int) -> None:
        if not sizes:
            await reader.delete(sample_id)
            assert reader.submit() == sample_id
        sizes.append(size)

    header, raw = await reader.store.raw(SUBMITTER, sample_id, replace)

    assert sizes == [len(raw)] * 2 == [header.byte_count] * 2


async def test_a_sample_that_expires_while_it_is_read_does_not_exist(reader: Reader) -> None:
    """Google Cloud can delete its chunks hours before its header."""
    sample_id = reader.submit()
    header = (await reader.store.headers(SUBMITTER, [sample_id]))[sample_id]
    name, chunk = map(reader.firestore.name, (document_paths.sample(SUBMITTER, sample_id), header.chunk_paths()[0]))

    async def expire(size: int) -> None:
        del size
        write = encoding.to_partial_write(name, {"expire_at": datetime.now(UTC) - timedelta(hours=1)})
        await reader.firestore.commit([write, encoding.to_delete(chunk)])

    with pytest.raises(NotFound):
        await reader.store.raw(SUBMITTER, sample_id, expire)

    await reader.delete(sample_id)


async def test_a_sample_without_a_chunk_is_damaged(reader: Reader) -> None:
    """Its header still refers to the chunk."""
    sample_id = reader.submit()
    header = (await reader.store.headers(SUBMITTER, [sample_id]))[sample_id]
    await reader.writer.write(encoding.to_delete(reader.firestore.name(header.chunk_paths()[0])), SUBMITTER)

    with pytest.raises(InvalidSample, match="damaged"):
        await reader.store.raw(SUBMITTER, sample_id)

    await reader.delete(sample_id)
