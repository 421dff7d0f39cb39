"""The series of a submitter: concurrent requests share a reading, because it can take a second."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from graphql_api.budgets.loop_turns import LoopTurns
from graphql_api.results.result_listing import ResultListing
from graphql_api.results.series_listing import SeriesListing
from storage.firestore.client import Firestore
from tests.stack import PATIENCE_SECONDS, Stack

SUBMITTER = "series"


async def test_requests_share_a_reading_that_begins_after_them(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request during a reading does not share it: the reading could lack a series that was registered meanwhile."""
    key = stack.new_key(SUBMITTER)
    sample = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1], "labels": {"site": "bern"}}
    stack.wait_for(stack.submit(sample, key=key)["id"], key=key)
    for name, value in stack.firestore_environment.items():
        monkeypatch.setenv(name, value)
    firestore = Firestore.connect(timeout_seconds=PATIENCE_SECONDS)
    read_page, has_started, readings = firestore.page, asyncio.Event(), 0

    async def count(*arguments: Any) -> list[Any]:
        nonlocal readings
        readings += 1
        has_started.set()
        return await read_page(*arguments)

    monkeypatch.setattr(firestore, "page", count)
    series = SeriesListing(firestore, ResultListing(firestore, LoopTurns(), shards=1))
    try:
        async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as tasks:
            first = [tasks.create_task(series.read(SUBMITTER, {})) for _ in range(20)]
            await has_started.wait()
            second = [tasks.create_task(series.read(SUBMITTER, {"site": "bern"})) for _ in range(20)]
            other = tasks.create_task(series.read("another", {}))
        assert readings == 3
        assert [each.result() for each in first + second] == [[{"site": "bern"}]] * 40
        assert other.result() == []

        assert await series.read(SUBMITTER, {"site": "basel"}) == []
        assert readings == 4
    finally:
        await firestore.close()


async def test_requests_that_share_a_reading_do_not_continue_in_the_same_iteration() -> None:
    """Each needs 6 ms for 10,000 series, and an operation can have 50 fields that list them."""

    async def page(*_: object) -> list[Any]:
        await asyncio.sleep(0)
        return []

    firestore = cast(Firestore, SimpleNamespace(page=page))
    series = SeriesListing(firestore, ResultListing(firestore, LoopTurns(), shards=1))
    iteration, ended = 0, list[int]()

    async def read() -> None:
        await series.read(SUBMITTER, {})
        ended.append(iteration)

    reads = asyncio.gather(*(read() for _ in range(10)))
    while not reads.done():
        iteration += 1
        await asyncio.sleep(0)

    assert len(set(ended)) == len(ended) == 10
