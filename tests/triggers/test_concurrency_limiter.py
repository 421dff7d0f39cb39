"""At most two large samples are computed at the same time, and submitters take turns."""

import asyncio

import pytest

from storage.documents import Unavailable
from triggers.concurrency_limiter import ConcurrencyLimiter


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


class Work:
    """Tasks that hold their turn until they are told to end."""

    def __init__(self, limiter: ConcurrencyLimiter) -> None:
        self.limiter = limiter
        self.started: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}

    async def run(self, submitter: str, key: str) -> None:
        """Take a turn and hold it. The key `a130` needs 30 bytes."""
        async with self.limiter.turn(submitter, key, int(key[2:] or 0)):
            self.started.append(key)
            await self.ends.setdefault(key, asyncio.Event()).wait()

    async def start(self, *keys: str) -> "list[asyncio.Task[None]]":
        """Start a task for each key, which starts with its submitter."""
        tasks = [asyncio.create_task(self.run(key[0], key)) for key in keys]
        await settle()
        return tasks

    async def end(self, key: str) -> None:
        """End a task that has its turn."""
        self.ends[key].set()
        await settle()


async def test_submitters_take_turns() -> None:
    """A submitter with many samples does not delay the samples of others: they are next."""
    work = Work(ConcurrencyLimiter(max_running=1))
    tasks = await work.start("a1", "a2", "a3", "a4", "b1", "c1", "b2")

    for _ in range(7):
        await work.end(work.started[-1])
    await asyncio.gather(*tasks)

    assert work.started == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


async def test_a_task_that_is_cancelled_when_its_turn_comes_gives_it_back() -> None:
    """The event of the next sample would otherwise wait until the process restarts."""
    work = Work(ConcurrencyLimiter(max_running=1))
    first, cancelled = await work.start("a1", "b1")

    work.ends["a1"].set()
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.gather(first, cancelled, return_exceptions=True)
    (last,) = await work.start("c1")
    assert work.started == ["a1", "c1"]
    await work.end("c1")
    await last


async def test_one_sample_of_each_submitter_is_computed_at_a_time() -> None:
    """The sample of another submitter does not wait."""
    work = Work(ConcurrencyLimiter(max_running=3))
    tasks = await work.start("a1", "a2", "b1", "c1", "d1")
    assert work.started == ["a1", "b1", "c1"]

    for key in ("a1", "d1", "a2", "b1", "c1"):
        await work.end(key)
    await asyncio.gather(*tasks)

    assert work.started == ["a1", "b1", "c1", "d1", "a2"]


async def test_samples_that_run_share_a_limited_memory() -> None:
    """A sample that needs more than all of it runs alone, and is not overtaken."""
    work = Work(ConcurrencyLimiter(max_running=3, max_running_bytes=100))
    tasks = await work.start("a150", "b150", "c1500", "d11")
    assert work.started == ["a150", "b150"]

    await work.end("a150")
    assert work.started[2:] == []
    await work.end("b150")
    assert work.started[2:] == ["c1500"]
    await work.end("c1500")
    assert work.started[3:] == ["d11"]
    await work.end("d11")
    await asyncio.gather(*tasks)


async def test_few_samples_of_a_submitter_wait() -> None:
    """Others of the submitter are refused at once, and those of other submitters are not."""
    work = Work(ConcurrencyLimiter(max_running=1, max_waiting_per_submitter=2))
    tasks = await work.start("a1", "a2", "a3", "b1")

    with pytest.raises(Unavailable, match="2 samples of this submitter are already waiting"):
        await work.run("a", "a4")
    for key in ("a1", "b1", "a2", "a3"):
        await work.end(key)
    await asyncio.gather(*tasks)


async def test_the_same_sample_has_one_turn() -> None:
    """A repeated event is refused while the sample waits or is being computed."""
    work = Work(ConcurrencyLimiter(max_running=1))
    tasks = await work.start("a1", "a2")

    for key in ("a1", "a2"):
        with pytest.raises(Unavailable, match="the same sample is being computed"):
            await work.run("a", key)
    await work.end("a1")
    await work.end("a2")
    await asyncio.gather(*tasks)
    again = await work.start("a1")
    await work.end("a1")
    await asyncio.gather(*again)


async def test_a_task_that_ends_its_wait_does_not_keep_the_turn() -> None:
    """It may end by its deadline, by being cancelled, or in the moment when it gets the turn."""
    work = Work(ConcurrencyLimiter(max_running=1, max_wait_seconds=0.05))
    holder, late = await work.start("a1", "b1")
    with pytest.raises(Unavailable, match=r"waited 0\.05 s while other samples were computed"):
        await late
    cancelled, chosen = await work.start("b2", "c1")
    cancelled.cancel()
    await settle()
    work.ends["a1"].set()
    await holder
    chosen.cancel()  # its turn has been given, but it has not run since
    await asyncio.gather(cancelled, chosen, return_exceptions=True)

    last = await work.start("d1")
    assert work.started[-1] == "d1"
    await work.end("d1")
    await asyncio.gather(*last)


async def test_a_task_that_ends_its_wait_does_not_hold_back_others() -> None:
    """It needed more memory than there was. The next sample needs less, and starts at once."""
    work = Work(ConcurrencyLimiter(max_running=3, max_running_bytes=100))
    holder, large, small = await work.start("a150", "b160", "c110")
    assert work.started == ["a150"]

    large.cancel()
    await settle()

    assert work.started == ["a150", "c110"]
    for key in work.started:
        await work.end(key)
    await asyncio.gather(holder, small)


async def test_a_task_that_fails_passes_its_turn_on() -> None:
    """The next sample is computed."""
    limiter = ConcurrencyLimiter(max_running=1)

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            async with limiter.turn("a", "a1", 0):
                raise ZeroDivisionError
