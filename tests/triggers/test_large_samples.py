"""Large samples are read from their chunks, one sample at a time."""

import asyncio
import json
import tracemalloc
from datetime import UTC, datetime

import msgspec
import psutil
import pytest
import zstandard

from storage.documents import compress_chunk
from tests.received import received_sample
from tests.triggers.machine import Machine
from tests.triggers.samples import new_large_sample, new_sample
from triggers import computation
from triggers.computation import summarize


async def test_a_large_sample_is_computed_from_its_chunks_in_order(machine: Machine, submitter: str) -> None:
    """Its header does not contain the raw document."""
    sample, values = new_large_sample(submitter)
    header = await machine.store(sample)

    assert await machine.deliver(header) == 200

    result = (await machine.result(sample)).to_dict()
    expected = json.loads(msgspec.json.encode(summarize(values)))
    assert {name: result[name] for name in expected} == expected


@pytest.mark.parametrize("fault", ["missing", "truncated"])
async def test_a_sample_with_a_bad_chunk_has_a_failed_result(machine: Machine, submitter: str, fault: str) -> None:
    """Chunks are written before the header, so a retry would find the same chunks."""
    sample, _ = new_large_sample(submitter)
    header = await machine.store(sample)
    chunk = machine.client.document(sample.header.chunk_paths()[1])
    if fault == "missing":
        await chunk.delete()
    else:
        await chunk.set({"data": zstandard.compress(b"x" * 100)[:-3]})

    assert await machine.deliver(header) == 200
    assert (await machine.result(sample)).get("problem")["code"] == "INCOMPLETE"


async def test_repeated_events_of_a_large_sample_compute_it_once(own_machine: Machine, submitter: str) -> None:
    """While it is being computed, they are refused with 503. Later, its result is found before its chunks are read."""
    sample, _ = new_large_sample(submitter)
    header = await own_machine.store(sample)

    statuses = await asyncio.gather(*(own_machine.deliver(header) for _ in range(5)))
    first = await own_machine.result(sample)
    await own_machine.client.document(sample.header.chunk_paths()[0]).delete()
    later = await own_machine.deliver(header)

    assert 200 in statuses
    assert set(statuses) <= {200, 503}
    assert later == 200
    assert first.get("status") == "COMPUTED"
    assert (await own_machine.result(sample)).update_time == first.update_time


async def test_a_large_sample_that_exceeds_the_memory_fails_in_the_end(own_machine: Machine, submitter: str) -> None:
    """Its event is refused with 503 twice. The process survives, and computes other samples."""
    raw = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1%b]}' % (b",1" * 20_000_000)  # 160 MB of doubles
    sample = received_sample(raw, submitter=submitter)
    header = await own_machine.store(sample)
    small = await own_machine.store(new_sample(submitter))
    await own_machine.deliver(small)
    assert own_machine.function.running is not None
    process = psutil.Process(own_machine.function.running.pid)
    limit = process.memory_info().vms + 100 * 2**20
    process.rlimit(psutil.RLIMIT_AS, (limit, limit))

    statuses = [await own_machine.deliver(header) for _ in range(3)]

    assert statuses == [503, 503, 200]
    problem = (await own_machine.result(sample)).get("problem")
    assert problem["code"] == "OVER_BUDGET"
    assert "ran out of memory" in problem["message"]
    assert await own_machine.deliver(await own_machine.touch(small)) == 200
    assert "Traceback" not in own_machine.function.log.read_text()


@pytest.mark.parametrize("shape", ["numbers", "object before the numbers"])
def test_a_sample_over_its_budget_has_a_failed_result(shape: str) -> None:
    """The computation checks its CPU time itself, because a thread cannot be ended."""
    start = b'{"o": {}, ' if shape == "object before the numbers" else b"{"
    raw = b'%b"time_stamp": "2019-05-01T06:00:00Z", "data": [1%b]}' % (start, b",1" * 1_000_000)
    sample = received_sample(raw, submitter="one")
    chunks = [compress_chunk(raw, number) for number in range(sample.header.chunks)]

    result = computation.compute(sample.header, datetime.now(UTC), chunks, max_seconds=0.001)

    assert result.problem is not None
    assert result.problem.code == "OVER_BUDGET"
    assert "0.001 s of CPU time" in result.problem.message


def test_a_sample_of_many_numbers_needs_little_more_memory_than_its_numbers() -> None:
    """They are sorted in place."""
    raw = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1%b]}' % (b",1" * 2_000_000)
    sample = received_sample(raw, submitter="one")
    chunks = [compress_chunk(raw, number) for number in range(sample.header.chunks)]

    tracemalloc.start()
    try:
        result = computation.compute(sample.header, datetime.now(UTC), chunks)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert result.status == "COMPUTED"
    assert peak < 1.5 * 8 * 2_000_000
