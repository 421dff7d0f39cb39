"""Samples of more than 16 KiB: while others wait for their turn, results are written together."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from storage.documents.stored_fields import SERVER_TIME
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from tests.received import received_sample
from tests.storage.firestore.one_method import DATABASE
from tests.storage.firestore.scripted_firestore import ScriptedFirestore, serve
from triggers import main
from triggers.result_store import ResultStore
from triggers.sample_event import SampleEvent

SAMPLES = 30


@pytest.fixture
def server() -> ScriptedFirestore:
    """A Firestore that responds at once."""
    server = ScriptedFirestore()
    server.respond(SAMPLES)
    return server


@pytest.fixture
async def firestore(server: ScriptedFirestore) -> AsyncIterator[Firestore]:
    """A client of it."""
    async with serve(server) as client:
        yield client


def new_event(number: int) -> SampleEvent:
    """Return the event of a new sample of 20 KB."""
    raw = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [%d%b]}' % (number, b",1" * 10_000)
    header = received_sample(raw, submitter="tenant").header
    fields = {name: value for name, value in header.fields().items() if value is not SERVER_TIME}
    document = encoding.to_write(f"{DATABASE}/documents/samples/{header.id}", fields).update
    document.update_time.GetCurrentTime()
    return SampleEvent(DATABASE, "tenant", header.id, document)


async def compute(firestore: Firestore, count: int) -> None:
    """Let the function compute samples at the same time."""
    store = ResultStore(firestore, GroupCommitWriter(firestore, timeout_seconds=30))
    async with asyncio.timeout(30):
        await asyncio.gather(*(main._write_result(store, new_event(number)) for number in range(count)))


async def test_results_of_samples_that_take_turns_share_calls(
    server: ScriptedFirestore, firestore: Firestore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call for each result would take Firestore and the function more time than the result."""
    monkeypatch.setattr(main, "MEDIUM_WRITE_SECONDS", 2.0)

    await compute(firestore, SAMPLES)

    assert sum(map(len, server.batches)) == SAMPLES
    assert len(server.batches) <= 5


async def test_a_result_does_not_wait_if_no_sample_waits(
    server: ScriptedFirestore, firestore: Firestore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written at once."""
    monkeypatch.setattr(main, "MEDIUM_WRITE_SECONDS", 3600.0)

    await compute(firestore, 1)

    assert len(server.batches) == 1
