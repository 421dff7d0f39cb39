"""Submitters share the threads: each uses one thread at a time, and they take turns."""

import asyncio
import threading

import pytest

from graphql_api.ingest.fair_executor import FairExecutor


@pytest.fixture
def executor() -> FairExecutor:
    """An executor with two threads."""
    return FairExecutor(2, "test")


async def test_a_submitter_uses_one_thread_at_a_time(executor: FairExecutor) -> None:
    """The other thread is free for the other submitters."""
    may_end = threading.Event()
    order: list[str] = []
    slow = [asyncio.create_task(executor.run("many", lambda: may_end.wait(30))) for _ in range(50)]

    for submitter in ("few", "other", "few"):
        await executor.run(submitter, lambda submitter=submitter: order.append(submitter))  # type: ignore[misc]

    assert order == ["few", "other", "few"]
    assert not any(task.done() for task in slow)
    may_end.set()
    assert await asyncio.gather(*slow) == [True] * 50
    executor.close()


async def test_submitters_take_turns() -> None:
    """Three functions of one submitter wait for the thread before a function of another submitter arrives."""
    executor = FairExecutor(1, "test")
    order: list[str] = []

    async def run(submitter: str) -> None:
        await executor.run(submitter, lambda: order.append(submitter))

    await asyncio.gather(*map(run, ("many", "many", "many", "few")))

    assert order == ["many", "few", "many", "many"]
    executor.close()


async def test_an_error_is_raised_by_the_caller(executor: FairExecutor) -> None:
    """The next function runs."""

    def fail() -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        await executor.run("a", fail)
    assert await executor.run("a", lambda: 5) == 5
    executor.close()


async def test_a_cancelled_caller_frees_its_thread_when_the_function_ends(executor: FairExecutor) -> None:
    """Functions that have not started are skipped."""
    may_end = threading.Event()
    running = asyncio.create_task(executor.run("a", lambda: may_end.wait(30)))
    waiting = asyncio.create_task(executor.run("a", lambda: pytest.fail("was cancelled")))
    last = asyncio.create_task(executor.run("a", lambda: "last"))
    await asyncio.sleep(0)
    running.cancel()
    waiting.cancel()
    await asyncio.sleep(0)
    assert not last.done()

    may_end.set()

    assert await last == "last"
    executor.close()
