"""Large documents: a few operations of a submitter read them at a time, and each reserves memory."""

import asyncio

import pytest

from graphql_api.budgets.budgets import Budgets
from graphql_api.budgets.large_read import LargeRead
from graphql_api.configuration.limits import Limits
from storage.documents import RateLimited
from tests.graphql_api.budgets.sender import Sender

MIB = 2**20


@pytest.fixture
def budgets() -> Budgets:
    """Allow two operations that read large documents, and 16 MiB of memory."""
    return Budgets(
        Limits(max_large_reads_per_submitter=2, max_large_requests_mib_per_submitter=16, max_memory_mib=2**20)
    )


def large_read(budgets: Budgets) -> LargeRead:
    """Return a read of one submitter."""
    return LargeRead(budgets, Sender("a"))


async def read_and_wait(budgets: Budgets) -> tuple[list[LargeRead], "asyncio.Task[None]"]:
    """Return three reads: two have a slot, and the third waits for one. Also return the task that waits."""
    reads = [large_read(budgets) for _ in range(3)]
    await reads[0].reserve(MIB)
    await reads[1].reserve(MIB)
    return reads, asyncio.create_task(reads[2].reserve(MIB))


async def test_a_small_document_needs_no_slot(budgets: Budgets) -> None:
    """Pages of samples are usually small."""
    for _ in range(5):
        await large_read(budgets).reserve(64 * 1024)

    assert budgets.submitter("a").is_unused


async def test_an_operation_waits_until_another_has_its_response(budgets: Budgets) -> None:
    """Another submitter does not wait."""
    reads, waiting = await read_and_wait(budgets)
    await LargeRead(budgets, Sender("b")).reserve(MIB)
    assert budgets.submitter("a").large_reads.waiting == 1

    reads[0].end(MIB)
    await waiting

    assert budgets.submitter("a").request_bytes.used == (1 + 4 + 4) * MIB
    for each in reads:
        each.end()
    assert budgets.submitter("a").is_unused


async def test_the_documents_of_one_operation_count_together(budgets: Budgets) -> None:
    """The operation has one slot, even if two fields read at the same time."""
    with large_read(budgets) as read:
        await asyncio.gather(read.reserve(MIB), read.reserve(2 * MIB))
        assert budgets.submitter("a").large_reads.used == 1
        assert budgets.submitter("a").request_bytes.used == 8 * MIB

    assert budgets.submitter("a").is_unused


async def test_a_refused_document_reserves_nothing(budgets: Budgets) -> None:
    """The refusal names the limit. The slot is free when the operation has ended."""
    with large_read(budgets) as first, large_read(budgets) as second:
        await first.reserve(3 * MIB)
        with pytest.raises(RateLimited) as refused:
            await second.reserve(2 * MIB)
        assert refused.value.limit == "max_large_requests_mib_per_submitter"
        assert budgets.submitter("a").request_bytes.used == 12 * MIB

    assert budgets.submitter("a").is_unused


async def test_an_operation_that_is_cancelled_while_it_waits_uses_no_slot(budgets: Budgets) -> None:
    """Its client may have disconnected."""
    reads, waiting = await read_and_wait(budgets)
    await asyncio.sleep(0)

    waiting.cancel()
    await asyncio.wait([waiting])
    reads[2].end()
    await asyncio.sleep(0)

    assert budgets.submitter("a").large_reads.waiting == 0
    reads[0].end()
    reads[1].end()
    await asyncio.sleep(0)
    assert budgets.submitter("a").is_unused
