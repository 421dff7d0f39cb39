"""Samples of more than 16 KiB: small samples do not wait for them, and while others wait, results share calls."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from storage.documents import Header, Result
from storage.documents.stored_fields import SERVER_TIME
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from tests.received import received_sample
from tests.storage.firestore.one_method import DATABASE
from tests.storage.firestore.scripted_firestore import ScriptedFirestore, serve
from triggers import computation, main
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


def new_header(number: int, count: int) -> Header:
    """Return the header of a new sample of `count` values."""
    raw = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [%d%b]}' % (number, b",1" * (count - 1))
    return received_sample(raw, submitter="tenant").header


def new_event(number: int) -> SampleEvent:
    """Return the event of a new sample of 20 KB."""
    header = new_header(number, 10_001)
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


async def test_a_small_sample_does_not_wait_for_the_next_medium_sample(
    firestore: Firestore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A medium sample can take 20 ms. A small sample needs several iterations of the event loop."""
    store = ResultStore(firestore, GroupCommitWriter(firestore, timeout_seconds=30))
    computed: list[Header] = []
    small: list[asyncio.Task[int]] = []

    async def compute_small() -> int:
        await main._compute(store, new_header(0, 100), datetime.now(UTC))
        return len(computed)

    def compute_medium(header: Header, update_time: datetime) -> Result:
        computed.append(header)
        small.append(asyncio.create_task(compute_small()))  # it arrives in the meantime
        return original(header, update_time)

    original = computation.compute
    monkeypatch.setattr(computation, "compute", compute_medium)
    headers = [new_header(number, 10_001) for number in range(3)]
    await asyncio.gather(*(main._compute(store, header, datetime.now(UTC)) for header in headers))

    assert await asyncio.gather(*small) == [1, 2, 3]
