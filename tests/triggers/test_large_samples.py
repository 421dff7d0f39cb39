"""Large samples are read from their chunks, one sample at a time."""

import asyncio
import json
import signal
from dataclasses import asdict

import pytest
import zstandard

from storage.documents import document_paths
from tests.triggers.machine import Machine
from tests.triggers.samples import new_large_sample
from triggers.summary import summarize


async def test_a_large_sample_is_computed_from_its_chunks_in_order(machine: Machine, submitter: str) -> None:
    """Its header does not contain the raw document."""
    sample, values = new_large_sample(submitter)
    header = await machine.store(sample)

    assert await machine.deliver(header) == 200

    result = (await machine.result(sample)).to_dict()
    expected = json.loads(json.dumps(asdict(summarize(values))))  # tuples become lists
    assert {name: result[name] for name in expected} == expected


@pytest.mark.parametrize("fault", ["missing", "truncated"])
async def test_a_sample_with_a_bad_chunk_has_a_failed_result(machine: Machine, submitter: str, fault: str) -> None:
    """Chunks are written before the header, so a retry would find the same chunks."""
    sample, _ = new_large_sample(submitter)
    header = await machine.store(sample)
    chunk = machine.client.document(document_paths.chunk(submitter, sample.header.id, sample.header.sha256, 1))
    if fault == "missing":
        await chunk.delete()
    else:
        await chunk.set({"data": zstandard.compress(b"x" * 100)[:-3]})

    assert await machine.deliver(header) == 200
    assert (await machine.result(sample)).get("problem")["code"] == "INCOMPLETE"


async def test_a_large_sample_waits_a_limited_time_for_its_turn(own_machine: Machine, submitter: str) -> None:
    """If another one is stuck, its event is rejected with 503 and redelivered later."""
    samples = [new_large_sample(submitter)[0] for _ in range(2)]
    headers = [await own_machine.store(sample) for sample in samples]
    firestore = own_machine.firestore.running
    assert firestore is not None

    firestore.send_signal(signal.SIGSTOP)
    try:
        delivered = {asyncio.create_task(own_machine.deliver(header)) for header in headers}
        (rejected,), waiting = await asyncio.wait(delivered, return_when=asyncio.FIRST_COMPLETED)
    finally:
        firestore.send_signal(signal.SIGCONT)

    assert rejected.result() == 503
    assert await waiting.pop() == 200
    assert [await own_machine.deliver_until_accepted(header) for header in headers] == [200, 200]
    expected = "waited 5 s for other large samples; send the event again"
    assert f"responded 503, so Eventarc sends the event again: {expected}" in own_machine.function.log.read_text()
