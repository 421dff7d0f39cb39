"""Samples in chunks: put together in their order, one at a time, or not at all."""

import asyncio
import json
import signal
from dataclasses import asdict

import pytest
import zstandard

from storage.documents import document_paths
from tests.triggers.machine import Machine
from tests.triggers.samples import new_large_sample
from triggers.summary import summarise


async def test_a_sample_in_chunks_is_put_together_in_their_order(machine: Machine, submitter: str) -> None:
    """The header holds no raw document then; its chunks are read, decompressed and checked."""
    sample, values = new_large_sample(submitter)
    header = await machine.store(sample)

    assert await machine.deliver(header) == 200

    result = (await machine.result(sample)).to_dict()
    expected = json.loads(json.dumps(asdict(summarise(values))))  # tuples become lists
    assert {name: result[name] for name in expected} == expected


@pytest.mark.parametrize("fault", ["missing", "torn"])
async def test_a_sample_with_a_bad_chunk_fails(machine: Machine, submitter: str, fault: str) -> None:
    """Chunks are written before the header, so one that is not right will never be."""
    sample, _ = new_large_sample(submitter)
    header = await machine.store(sample)
    chunk = machine.client.document(document_paths.chunk(submitter, sample.header.id, sample.header.sha256, 1))
    if fault == "missing":
        await chunk.delete()
    else:
        await chunk.set({"data": zstandard.compress(b"x" * 100)[:-3]})

    assert await machine.deliver(header) == 200
    assert (await machine.result(sample)).get("problem")["code"] == "INCOMPLETE"


async def test_a_large_sample_does_not_wait_for_ever_for_its_turn(own_machine: Machine, submitter: str) -> None:
    """While another one is stuck, it is sent again later instead of being computed for a caller who has gone."""
    samples = [new_large_sample(submitter)[0] for _ in range(2)]
    headers = [await own_machine.store(sample) for sample in samples]
    firestore = own_machine.firestore.running
    assert firestore is not None

    firestore.send_signal(signal.SIGSTOP)
    try:
        delivered = {asyncio.create_task(own_machine.deliver(header)) for header in headers}
        (refused,), waiting = await asyncio.wait(delivered, return_when=asyncio.FIRST_COMPLETED)
    finally:
        firestore.send_signal(signal.SIGCONT)

    assert refused.result() == 503
    assert await waiting.pop() == 200
    assert [await own_machine.deliver_until_accepted(header) for header in headers] == [200, 200]
    assert "is redelivered later: other large samples are being computed" in own_machine.function.log.read_text()
