"""Statistics that cannot be computed again are never lost."""

from datetime import UTC, datetime, timedelta

import pytest

from storage.documents import document_paths
from tests.received import received_sample
from tests.triggers.machine import Machine
from tests.triggers.samples import new_large_sample

EARLIER = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1], "idempotency_key": "key"}'
LATER = b'{"time_stamp": "2020-01-01T00:00:00Z", "data": [5], "idempotency_key": "key"}'


@pytest.mark.parametrize("is_superseded", [False, True])
async def test_a_failed_recomputation_keeps_the_statistics(
    machine: Machine, submitter: str, is_superseded: bool
) -> None:
    """The chunks are deleted, for example because of a damaged disk. The sample may have been corrected before."""
    sample, _ = new_large_sample(submitter)
    header = await machine.store(sample)
    document = machine.client.document(document_paths.sample(submitter, sample.header.id))
    if is_superseded:
        await document.update({"superseded_by": "another"})
        header = await machine.touch(header)
    assert await machine.deliver_until_accepted(header) == 200
    computed = (await machine.result(sample)).to_dict()
    for path in sample.header.chunk_paths():
        await machine.client.document(path).delete()

    assert await machine.deliver_until_accepted(await machine.touch(header)) == 200

    assert computed["status"] == ("SUPERSEDED" if is_superseded else "COMPUTED")
    assert (await machine.result(sample)).to_dict() == computed
    assert f"sample {submitter}/{sample.header.id}: FAILED" in machine.function.log.read_text()


@pytest.mark.parametrize("earlier_correction", [None, "deleted"])
async def test_the_result_of_a_superseded_sample_leaves_lists_although_its_chunks_are_lost(
    machine: Machine, submitter: str, earlier_correction: str | None
) -> None:
    """Otherwise lists would contain both results, or the result would name a correction that was deleted."""
    sample, _ = new_large_sample(submitter)
    header = await machine.store(sample)
    document = machine.client.document(document_paths.sample(submitter, sample.header.id))
    if earlier_correction is not None:
        await document.update({"superseded_by": earlier_correction})
        header = await machine.touch(header)
    assert await machine.deliver_until_accepted(header) == 200
    for path in sample.header.chunk_paths():
        await machine.client.document(path).delete()
    await document.update({"superseded_by": "another"})

    assert await machine.deliver_until_accepted(await machine.touch(header)) == 200

    result = (await machine.result(sample)).to_dict()
    assert (result["status"], result["superseded_by"]) == ("FAILED", "another")
    assert f"sample {submitter}/{sample.header.id}: FAILED" in machine.function.log.read_text()


async def test_a_result_is_kept_if_the_key_of_its_expired_sample_is_used_again(
    machine: Machine, submitter: str
) -> None:
    """It gets a new id, and stays in lists until it expires or is archived. A repeated event changes nothing."""
    earlier, later = (received_sample(raw, submitter=submitter) for raw in (EARLIER, LATER))
    due = datetime.now(UTC) + timedelta(days=50)
    await machine.deliver(await machine.store(earlier, result_expire_at=due, archiving={"expire_at": None}))
    computed = (await machine.result(earlier)).to_dict()
    await machine.client.document(document_paths.sample(submitter, earlier.header.id)).delete()
    header = await machine.store(later)

    assert [await machine.deliver(header) for _ in range(2)] == [200, 200]

    assert (await machine.result(later)).get("mean") == 5
    collection = machine.client.collection(f"{document_paths.submitter(submitter)}/{document_paths.RESULTS}")
    kept = [document.to_dict() async for document in collection.stream() if document.id != later.header.id]
    changed = {"computed_at", "first_computed_at"}
    assert [{name: fields[name] for name in fields if name not in changed} for fields in kept] == [
        {name: computed[name] for name in computed if name not in changed}
    ]
    assert (kept[0]["mean"], kept[0]["first_computed_at"]) == (1, computed["computed_at"])
    assert kept[0]["computed_at"] > computed["computed_at"]


async def test_a_failed_result_has_the_shard_of_its_sample(machine: Machine, submitter: str) -> None:
    """Otherwise a count of one shard would hide that another sample of the shard has no result."""
    raw = b'{"time_stamp": "2019-05-01T06:00:00", "data": [1]}'
    samples = (received_sample(raw, submitter=submitter, shards=4, time_zone="Europe/Zurich") for _ in range(1_000))
    sample = next(each for each in samples if each.header.shard == 3)

    assert await machine.deliver(await machine.store(sample, time_zone="Mars/Base")) == 200

    result = (await machine.result(sample)).to_dict()
    assert (result["status"], result["shard"]) == ("FAILED", 3)
