"""Results that the function computes but does not store."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import grpc.aio
import pytest
from starlette.exceptions import HTTPException

from storage.documents import Header, Sample, document_paths
from storage.documents.tombstone import Tombstone
from storage.firestore.client import Firestore
from storage.firestore.writes import group_commit_writer
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from tests.triggers.machine import DATABASE, Machine
from tests.triggers.samples import new_large_sample, new_sample
from triggers import main
from triggers.result_store import ResultStore
from triggers.sample_event import SampleEvent


@pytest.fixture
async def firestore(machine: Machine) -> AsyncIterator[Firestore]:
    """A client of the Firestore of the machine."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{machine.firestore.port}") as channel:
        yield Firestore(channel, DATABASE, timeout_seconds=30)


def new_store(firestore: Firestore) -> ResultStore:
    """Return a store as the function composes it."""
    return ResultStore(firestore, GroupCommitWriter(firestore, timeout_seconds=30))


async def new_event(machine: Machine, sample: Sample) -> SampleEvent:
    """Store a sample. Return its event."""
    return SampleEvent(DATABASE, sample.header.submitter, sample.header.id, await machine.store(sample))


async def test_an_event_is_sent_again_while_too_many_results_wait(
    machine: Machine, firestore: Firestore, submitter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sample gets no FAILED result. Here each submitter may have only one result without an outcome."""
    monkeypatch.setattr(group_commit_writer, "MAX_PENDING_WRITES", 0)
    store = new_store(firestore)
    monkeypatch.setattr(main, "_connect", lambda database: store)
    samples = [new_sample(submitter, number) for number in range(3)]
    events = [await new_event(machine, sample) for sample in samples]

    outcomes = await asyncio.gather(*map(main._process, events), return_exceptions=True)

    statuses = [outcome.status_code for outcome in outcomes if isinstance(outcome, HTTPException)]
    stored = [(await machine.result(sample)).to_dict() for sample in samples]
    assert statuses == [503, 503]
    assert [result and result["status"] for result in stored] == ["COMPUTED", None, None]


class DeletingStore(ResultStore):
    """A store in which a sample is deleted just before its chunks are read."""

    def __init__(self, firestore: Firestore, machine: Machine) -> None:
        super().__init__(firestore, GroupCommitWriter(firestore, timeout_seconds=30))
        self._machine = machine

    async def read_chunks(self, header: Header) -> list[bytes]:
        """Delete the sample as the API does. Return its chunks."""
        for path in [document_paths.sample(header.submitter, header.id), *header.chunk_paths()]:
            await self._machine.client.document(path).delete()
        deleted_at = datetime.now(UTC) + timedelta(seconds=1)
        tombstone = Tombstone(header.submitter, header.id, header.sha256, header.shard, deleted_at, "wrong sensor")
        await self._machine.put(document_paths.result(header.submitter, header.id), tombstone.fields())
        return await super().read_chunks(header)


async def test_a_sample_that_is_deleted_while_it_is_read_is_ignored(
    machine: Machine, firestore: Firestore, submitter: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its tombstone is not replaced, so the log does not report a failed sample."""
    sample, _ = new_large_sample(submitter)
    event = await new_event(machine, sample)

    outcome = await main._write_result(DeletingStore(firestore, machine), event)

    assert outcome == main.IGNORED
    assert (await machine.result(sample)).get("status") == "DELETED"
    assert sample.header.id not in caplog.text
