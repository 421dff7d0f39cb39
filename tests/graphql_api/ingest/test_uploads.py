"""The chunks of interrupted uploads are removed, and those of uploads in progress and of stored samples never."""

import asyncio
import contextlib
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from graphql_api.budgets.loop_turns import LoopTurns
from graphql_api.ingest.uploads import MIN_AGE, Uploads
from graphql_api.results.store import Store
from storage.documents import Identity, Unavailable
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.group_commit_writer import GroupCommitWriter
from tests.graphql_api.ingest.test_large_sample_writer import OPENING, count_chunks
from tests.stack import Stack, eventually

NOW = timedelta(0)


@pytest.fixture(scope="module")
def large() -> bytes:
    """A sample that is stored in several chunks."""
    return OPENING + b"".join(b"%d.%d, " % (number, number) for number in range(1_000_000)) + b"1]}"


@pytest.fixture
async def uploads(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Uploads]:
    """The uploads of a stack, to sweep them at any time."""
    async with connected(stack, monkeypatch) as connection:
        yield connection


@contextlib.asynccontextmanager
async def connected(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Uploads]:
    """Connect to the Firestore of a stack."""
    for name, value in stack.firestore_environment.items():
        monkeypatch.setenv(name, value)
    firestore = Firestore.connect(timeout_seconds=30)
    writer = GroupCommitWriter(firestore, timeout_seconds=30)
    try:
        yield Uploads(firestore, writer, Store(firestore, LoopTurns(), shards=1).headers)
    finally:
        await writer.close()
        await firestore.close()


async def write_chunk(uploads: Uploads, identity: Identity) -> None:
    """Write the first chunk of a sample."""
    path, chunk = identity.chunk(0, b"chunk")
    await uploads._writer.write(encoding.to_write(uploads._firestore.name(path), chunk))


def count_uploads(stack: Stack) -> int:
    """Return the number of recorded uploads."""
    return len(list(stack.firestore().collection("uploads").stream()))


def wait_for_more_chunks(stack: Stack, count: int) -> None:
    """Wait until there are more than `count` chunks."""
    eventually(lambda: count_chunks(stack) > count)


async def test_chunks_of_a_process_that_was_killed_are_removed(
    own_stack: Stack, large: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is killed while it writes samples. A stored sample keeps its chunks."""
    stored = own_stack.post_sample(large, idempotency_key="stored").json()["id"]
    eventually(lambda: count_uploads(own_stack) == 0)
    kept = count_chunks(own_stack)
    head = f"POST /samples HTTP/1.1\r\nhost: x\r\nx-api-key: {own_stack.key}\r\ncontent-type: application/json\r\n"

    def send() -> None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", own_stack.api_port)) as client:
            client.sendall(f"{head}content-length: {len(large)}\r\n\r\n".encode() + large)
            client.recv(1)

    is_killed = False
    while not is_killed:  # again, if all samples were stored before the process was stopped
        before = count_chunks(own_stack)
        senders = [threading.Thread(target=send) for _ in range(6)]
        for sender in senders:
            sender.start()
        wait_for_more_chunks(own_stack, before)
        api_pid = own_stack.api_pid()
        os.kill(api_pid, signal.SIGSTOP)
        is_killed = count_uploads(own_stack) > 0
        os.kill(api_pid, signal.SIGKILL if is_killed else signal.SIGCONT)
        for sender in senders:
            sender.join()
    eventually(own_stack.is_ready)
    assert count_uploads(own_stack) > 0

    async with connected(own_stack, monkeypatch) as uploads:
        assert await uploads.sweep(MIN_AGE) == 0
        assert count_chunks(own_stack) > kept
        assert await uploads.sweep(NOW) > 0

    headers = own_stack.firestore().collection_group("samples").select(["chunks"]).stream()
    assert count_chunks(own_stack) == sum(header.get("chunks") for header in headers)
    assert count_uploads(own_stack) == 0
    assert own_stack.get(f"/samples/{stored}").content == large


async def test_a_sweep_keeps_the_chunks_of_a_stored_sample(stack: Stack, uploads: Uploads, large: bytes) -> None:
    """The process ended after it had written the header, before it removed the record of the upload."""
    sample_id = stack.post_sample(large).json()["id"]
    eventually(lambda: count_uploads(stack) == 0)
    header = (await uploads._read_headers("local", [sample_id]))[sample_id]
    await uploads.begin(Identity("local", sample_id, header.sha256, False), header.chunks)

    await uploads.sweep(NOW)

    assert stack.get(f"/samples/{sample_id}").content == large
    assert count_uploads(stack) == 0


async def test_an_upload_that_starts_again_is_not_swept(stack: Stack, uploads: Uploads) -> None:
    """The sweep has read the record before the retry changes it."""
    identity = Identity.of(b"retried", "local", "retried")
    await uploads.begin(identity, 1)
    (record,) = await uploads._page("")
    await uploads.begin(identity, 1)
    await write_chunk(uploads, identity)

    assert not await uploads._sweep(record)

    path, _ = identity.chunk(0, b"")
    assert stack.firestore().document(path).get().exists
    assert await uploads.sweep(NOW) == 1
    assert not stack.firestore().document(path).get().exists


async def test_an_upload_does_not_start_during_its_sweep(stack: Stack, uploads: Uploads) -> None:
    """The client retries later. A sweep that was interrupted is repeated."""
    identity = Identity.of(b"swept", "local", "swept")
    await uploads.begin(identity, 1)
    await write_chunk(uploads, identity)
    (record,) = await uploads._page("")

    async def interrupt(identity: Identity, chunks: int) -> None:
        del identity, chunks
        raise asyncio.CancelledError

    interrupted = Uploads(uploads._firestore, uploads._writer, uploads._read_headers)
    interrupted.remove_chunks = interrupt  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await interrupted._sweep(record)

    with pytest.raises(Unavailable, match="is being removed"):
        await uploads.begin(identity, 1)

    assert await uploads.sweep(NOW) == 1
    await uploads.begin(identity, 1)
    await uploads.end(identity)
    assert count_uploads(stack) == 0
