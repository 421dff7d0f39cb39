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
from graphql_api.ingest import uploads as uploads_module
from graphql_api.ingest.uploads import MIN_AGE, Uploads
from graphql_api.results.store import Store
from storage.documents import Upload
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
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


def test_a_large_correction_of_a_missing_sample_writes_no_chunks(own_stack: Stack, large: bytes) -> None:
    """It is refused before, and a repeated correction of a deleted sample is not."""
    wrong = own_stack.post_sample(large).json()["id"]
    correction = {"idempotency_key": "correction", "x_supersedes": wrong}
    stored = own_stack.post_sample(large, **correction).json()["id"]
    deletion = 'mutation ($ids: [ID!]) { deleteSamples(ids: $ids, reason: "wrong") { id } }'
    own_stack.graphql(deletion, {"ids": [wrong]})
    eventually(lambda: own_stack.get(f"/samples/{wrong}").status_code == 404)
    eventually(lambda: count_uploads(own_stack) == 0)
    chunks = count_chunks(own_stack)

    refused = own_stack.post_sample(large, x_supersedes=wrong)

    assert refused.json()["error"]["extensions"]["code"] == "NOT_FOUND"
    assert (count_uploads(own_stack), count_chunks(own_stack)) == (0, chunks)
    assert own_stack.post_sample(large, **correction).json()["id"] == stored


async def test_a_sweep_keeps_the_chunks_of_a_stored_sample(stack: Stack, uploads: Uploads, large: bytes) -> None:
    """The process ended after it had written the header, before it removed the record of the upload."""
    sample_id = stack.post_sample(large).json()["id"]
    eventually(lambda: count_uploads(stack) == 0)
    header = (await uploads._read_headers("local", [sample_id]))[sample_id]
    assert header.upload_id is not None
    await uploads.begin(Upload("local", sample_id, header.chunks, header.upload_id))

    await uploads.sweep(NOW)

    assert stack.get(f"/samples/{sample_id}").content == large
    assert count_uploads(stack) == 0


async def test_a_sweep_removes_the_chunks_of_another_upload_of_a_stored_sample(
    stack: Stack, uploads: Uploads, large: bytes
) -> None:
    """The sample was uploaded twice with the same idempotency key, and the process ended during the second upload."""
    sample_id = stack.post_sample(large, idempotency_key="twice").json()["id"]
    eventually(lambda: count_uploads(stack) == 0)
    interrupted = Upload("local", sample_id, 1)
    await uploads.begin(interrupted)
    name = uploads._firestore.name(interrupted.chunk_path(0))
    await uploads._writer.write(encoding.to_write(name, {"data": b"chunk"}))

    await uploads.sweep(NOW)

    assert not stack.firestore().document(interrupted.chunk_path(0)).get().exists
    assert stack.get(f"/samples/{sample_id}").content == large


async def test_a_damaged_record_does_not_end_the_sweeps(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The next sweep removes the chunks of other uploads."""
    sweeps = 0

    async def sweep() -> int:
        nonlocal sweeps
        sweeps += 1
        raise KeyError("chunks")

    monkeypatch.setattr(uploads_module, "_SWEEP_SECONDS", 0.01)
    monkeypatch.setattr(uploads, "sweep", sweep)
    task = asyncio.create_task(uploads.sweep_regularly())
    await asyncio.to_thread(eventually, lambda: sweeps > 2)
    task.cancel()

    assert "unexpected error while removing the chunks" in caplog.text
