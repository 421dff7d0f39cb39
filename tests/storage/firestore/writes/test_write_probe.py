"""The probe knows whether Firestore accepts writes, and writes only if the last outcome does not show it."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from storage.documents import Unavailable
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError, FirestoreUnavailable, PreconditionFailed
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from storage.firestore.writes.write_probe import WriteProbe
from tests.storage.firestore.scripted_firestore import ScriptedFirestore
from tests.storage.firestore.writes.numbered_writes import new_write

Code = grpc.StatusCode


@pytest.fixture
async def probe(firestore: Firestore, writer: GroupCommitWriter) -> AsyncIterator[WriteProbe]:
    """Return a probe that knows the outcomes of the writer."""
    probe = WriteProbe(firestore, writer)
    yield probe
    await probe.close()


async def test_the_first_check_writes_once(server: ScriptedFirestore, probe: WriteProbe) -> None:
    """Nothing is known before. Its success is the proof for the next check."""
    server.respond()

    await probe.check(30, 3600)
    await probe.check(30, 3600)

    assert len(server.batches) == 1


async def test_a_check_of_an_idle_writer_writes_again(
    server: ScriptedFirestore, writer: GroupCommitWriter, probe: WriteProbe
) -> None:
    """A batch that was accepted too long ago proves nothing."""
    server.respond(2)
    await writer.write(new_write("1"))

    await probe.check(30, 0)

    assert len(server.batches) == 2


async def test_each_check_writes_until_a_write_succeeds(
    server: ScriptedFirestore, writer: GroupCommitWriter, probe: WriteProbe
) -> None:
    """After Firestore has refused a batch, the next batch or check shows whether it accepts writes again."""
    server.respond()
    await writer.write(new_write("1"))
    server.fail(Code.PERMISSION_DENIED)
    with pytest.raises(FirestoreError):
        await writer.write(new_write("2"))
    server.fail(Code.RESOURCE_EXHAUSTED)
    with pytest.raises(FirestoreUnavailable, match="RESOURCE_EXHAUSTED"):
        await probe.check(30, 3600)
    server.respond()

    for _ in range(2):
        await probe.check(30, 3600)

    assert len(server.batches) == 4


async def test_a_slow_write_is_not_refused(server: ScriptedFirestore, probe: WriteProbe) -> None:
    """Checks share an attempt to write. Only at the start, they need its outcome."""
    for _ in range(2):
        with pytest.raises(Unavailable, match="not confirmed a write within"):
            await probe.check(0.01, 3600)
    server.respond()
    await probe.check(30, 3600)

    await probe.check(0.01, 0)

    await server.wait_for(lambda batches: len(batches) == 2)


async def test_a_write_that_only_others_prevent_proves_that_writes_are_accepted(
    server: ScriptedFirestore, writer: GroupCommitWriter, probe: WriteProbe
) -> None:
    """Contention and failed preconditions say nothing about the disk."""
    server.set_statuses({"1": [Code.ABORTED, Code.ALREADY_EXISTS]})
    server.respond(2)
    with pytest.raises(PreconditionFailed):
        await writer.write(new_write("1"))

    await probe.check(30, 3600)

    assert len(server.batches) == 2


async def test_contention_does_not_cause_a_further_write(
    server: ScriptedFirestore, writer: GroupCommitWriter, probe: WriteProbe
) -> None:
    """While a write waits for other transactions, Firestore accepts writes. The API stays ready."""
    server.fail(Code.ABORTED)
    writing = asyncio.create_task(writer.write(new_write("1")))
    await server.wait_for(lambda batches: len(batches) == 2)  # the second call has no response yet

    await probe.check(0.01, 3600)

    assert len(server.batches) == 2
    server.respond()
    await writing
