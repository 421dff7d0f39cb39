"""Requests share the result of work that takes long."""

import asyncio

import pytest

from runtime.recent_result import RecentResult


class Work:
    """Work that ends when the test lets it, with an error if there is one."""

    def __init__(self) -> None:
        self.started = 0
        self.may_end = asyncio.Event()
        self.error: Exception | None = None

    async def run(self) -> int:
        """Return how often the work has started."""
        self.started += 1
        await self.may_end.wait()
        if self.error is not None:
            raise self.error
        return self.started


@pytest.mark.parametrize("seconds", [0.0, 1_000.0])
async def test_requests_at_the_same_time_share_the_work(seconds: float) -> None:
    """A request that is cancelled does not end it for the others."""
    work = Work()
    result = RecentResult(work.run, seconds)
    requests = [asyncio.create_task(result.get()) for _ in range(100)]
    await asyncio.sleep(0)
    requests[0].cancel()
    work.may_end.set()

    assert await asyncio.gather(*requests[1:]) == [1] * 99


@pytest.mark.parametrize(("seconds", "started"), [(0.0, 3), (1_000.0, 1)])
async def test_the_work_starts_again_when_its_result_is_not_recent(seconds: float, started: int) -> None:
    """An error counts as a result."""
    work = Work()
    work.may_end.set()
    work.error = ValueError("failed")
    result = RecentResult(work.run, seconds)

    for _ in range(3):
        with pytest.raises(ValueError, match="failed"):
            await result.get()

    assert work.started == started
