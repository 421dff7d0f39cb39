"""Events arrive at least once and in any order; the result is the same."""

import asyncio

import numpy as np

from storage.documents import document_paths
from storage.firestore import encoding
from tests.triggers.machine import Machine
from tests.triggers.samples import new_sample


async def test_a_repeated_event_writes_one_result(machine: Machine, submitter: str) -> None:
    """Ten concurrent deliveries and a later one write the result once."""
    sample = new_sample(submitter)
    header = await machine.store(sample)

    assert await asyncio.gather(*(machine.deliver(header) for _ in range(10))) == [200] * 10
    first = await machine.result(sample)
    assert await machine.deliver(header) == 200
    later = await machine.result(sample)

    assert first.exists
    assert (later.update_time, later.create_time) == (first.update_time, first.create_time)


async def test_a_touched_sample_is_computed_again(machine: Machine, submitter: str) -> None:
    """A recomputation writes to the header, and the event of that write replaces the result."""
    sample = new_sample(submitter)
    header = await machine.store(sample)
    await machine.deliver(header)
    touched = await machine.touch(header)

    assert await machine.deliver(touched, old_value=header) == 200

    result = (await machine.result(sample)).to_dict()
    assert result["sample_update_time"] == encoding.to_datetime(touched.update_time)


async def test_an_older_event_after_a_newer_one_writes_nothing(machine: Machine, submitter: str) -> None:
    """The result of the newer event remains."""
    sample = new_sample(submitter)
    older = await machine.store(sample)
    newer = await machine.touch(older)
    await machine.deliver(newer, old_value=older)
    before = await machine.result(sample)

    assert await machine.deliver(older) == 200

    after = await machine.result(sample)
    assert after.update_time == before.update_time
    assert after.get("sample_update_time") == encoding.to_datetime(newer.update_time)


async def test_the_newest_of_concurrent_events_remains(machine: Machine, submitter: str) -> None:
    """A write that loses a race starts over, and never replaces a newer result."""
    sample = new_sample(submitter)
    versions = [await machine.store(sample)]
    for _ in range(5):
        versions.append(await machine.touch(versions[-1]))
    newest = encoding.to_datetime(versions[-1].update_time)

    for _ in range(5):
        shuffled = [versions[index] for index in np.random.default_rng(1).permutation(len(versions))]
        statuses = await asyncio.gather(*(machine.deliver(version) for version in shuffled))

        assert set(statuses) == {200}
        assert (await machine.result(sample)).get("sample_update_time") == newest
        await machine.client.document(document_paths.result(submitter, sample.header.id)).delete()
