"""A submitter is watched only while it has subscribers."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from graphql_api.budgets.budgets import Budgets
from graphql_api.configuration.limits import Limits
from graphql_api.live.live_results import LiveResults
from tests.stack import PATIENCE_SECONDS

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """Takes the place of Firestore: the test says when a read of the time returns, and nothing else is read."""

    database = "projects/p/databases/(default)"

    def __init__(self) -> None:
        self.requests: asyncio.Queue[Any] = asyncio.Queue()
        """The requests on the Listen stream."""
        self._reads: asyncio.Queue[asyncio.Future[datetime]] = asyncio.Queue()

    async def now(self) -> datetime:
        """Wait for the time from the test."""
        read: asyncio.Future[datetime] = asyncio.get_running_loop().create_future()
        self._reads.put_nowait(read)
        return await read

    async def next_read(self) -> "asyncio.Future[datetime]":
        """Wait until the time is read."""
        return await asyncio.wait_for(self._reads.get(), PATIENCE_SECONDS)

    @property
    def is_read_again(self) -> bool:
        """Whether a read has not been passed to the test."""
        return not self._reads.empty()

    def listen(self) -> Any:
        """Return a stream without responses."""
        return SilentStream(self.requests)

    def name(self, path: str) -> str:
        """Return the full name of a document."""
        return f"{self.database}/documents/{path}"


class SilentStream:
    """A Listen stream without responses."""

    def __init__(self, requests: "asyncio.Queue[Any]") -> None:
        self._requests = requests

    async def read(self) -> Any:
        """Wait forever."""
        await asyncio.get_running_loop().create_future()

    async def write(self, request: Any) -> None:
        """Pass the request to the test."""
        self._requests.put_nowait(request)

    def cancel(self) -> None:
        """Do nothing."""


async def start_of_log(live: LiveResults) -> datetime:
    """Watch a submitter for a moment; return the time at which its log starts."""
    async with live.watch("s") as log:
        return log.start[0]


async def test_a_subscriber_that_leaves_before_it_has_started_is_not_watched_for() -> None:
    """Its target would otherwise stay in the Listen stream until the process ends."""
    clock: Any = Clock()
    live = LiveResults(clock, Budgets(Limits()), max_log_length=10, shards=1)
    leaving = asyncio.create_task(start_of_log(live))
    read = await clock.next_read()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    read.set_result(START)
    for _ in range(10):
        await asyncio.sleep(0)

    staying = asyncio.create_task(start_of_log(live))
    (await clock.next_read()).set_result(START + timedelta(seconds=1))

    assert await staying == START + timedelta(seconds=1)
    await live.close()


async def test_the_target_of_a_submitter_is_removed_after_its_last_subscriber() -> None:
    """Firestore would otherwise send the results of all submitters that ever had a subscriber."""
    clock: Any = Clock()
    live = LiveResults(clock, Budgets(Limits()), max_log_length=10, shards=1)

    async def subscribe() -> Any:
        async with live.watch("s"):
            return await asyncio.wait_for(clock.requests.get(), PATIENCE_SECONDS)

    subscribing = asyncio.create_task(subscribe())
    (await clock.next_read()).set_result(START)
    added = await subscribing

    removed = await asyncio.wait_for(clock.requests.get(), PATIENCE_SECONDS)

    assert removed.remove_target == added.add_target.target_id > 0
    await live.close()


async def test_subscribers_that_start_together_share_one_read_of_the_time() -> None:
    """Thousands of them return when a server restarts."""
    clock: Any = Clock()
    live = LiveResults(clock, Budgets(Limits()), max_log_length=10, shards=1)
    starting = [asyncio.create_task(start_of_log(live)) for _ in range(3)]
    (await clock.next_read()).set_result(START)

    assert await asyncio.gather(*starting) == [START] * 3
    assert not clock.is_read_again
    await live.close()
