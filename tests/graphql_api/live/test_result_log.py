"""The log of a submitter: which results a reader receives from a position on."""

import asyncio
from datetime import UTC, datetime

import pytest
from google.cloud.firestore_v1.types import document

from graphql_api.live.listener import WrittenResult
from graphql_api.live.live_results import ResultLog
from storage.documents import Unavailable
from tests.stack import PATIENCE_SECONDS

_Document = document.Document.pb()


def _time(second: int) -> datetime:
    return datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)


def _written(second: int, sample_id: str) -> WrittenResult:
    stored = _Document(name=f"submitters/s/results/{sample_id}")
    stored.update_time.FromDatetime(_time(second))
    return WrittenResult("s", stored)


async def test_a_reader_that_is_ahead_of_the_log_receives_nothing_twice() -> None:
    """A cursor from a query or another process can be later than the end of the log."""
    log = ResultLog(_time(0), 100)
    ahead = _written(5, "b")
    reading = asyncio.ensure_future(anext(log.follow(ahead.position)))
    await asyncio.sleep(0)

    log.append(_time(6), [_written(4, "a"), ahead, _written(6, "c")])

    assert (await asyncio.wait_for(reading, PATIENCE_SECONDS)).position[1] == "c"


async def test_a_reader_that_is_too_slow_reaches_the_end_of_its_log() -> None:
    """It then reads the dropped results from Firestore, up to the start of the log."""
    log = ResultLog(_time(0), 2)
    reader = log.follow(log.end)
    log.append(_time(1), [_written(1, "a")])
    assert (await anext(reader)).position[1] == "a"

    log.append(_time(5), [_written(second, f"{second}") for second in (2, 3, 4, 5)])

    assert [written.position[1] async for written in reader] == []
    assert log.start == (_time(3), "3")
    assert [written async for written in log.follow((_time(1), "a"))] == []


async def test_few_subscribers_continue_in_the_same_iteration_of_the_event_loop() -> None:
    """A submitter can have 2,000 subscriptions. If all of them continue together, other requests wait for 0.3 s."""
    log = ResultLog(_time(0), 100)
    continued: list[object] = []

    async def read() -> None:
        reader = log.follow(log.end)
        for _ in range(2):
            continued.append(await anext(reader))

    async def expect() -> None:
        with log.expect("a") as future:
            await future
            continued.append(future)

    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as tasks:
        for _ in range(100):
            tasks.create_task(read())
            tasks.create_task(expect())
        await asyncio.sleep(0)
        steps = []
        for second in (1, 2):  # while the readers are woken, another result arrives
            log.append(_time(second), [_written(second, "a" if second == 1 else "b")])
            for _ in range(3):
                before = len(continued)
                await asyncio.sleep(0)
                steps.append(len(continued) - before)

    assert max(steps) <= 50
    assert len(continued) == 300


async def test_all_who_wait_receive_the_error_that_closes_the_log() -> None:
    """Readers first receive the rest of the log."""
    log = ResultLog(_time(0), 100)
    reader = log.follow(log.end)
    log.append(_time(1), [_written(1, "a")])

    with log.expect("b") as expected:
        log.close(Unavailable("closed by the test"))
        assert (await anext(reader)).position[1] == "a"
        with log.expect("b") as expected_later:
            pass
        for waiting in (anext(reader), expected, expected_later):
            with pytest.raises(Unavailable, match="closed by the test"):
                await asyncio.wait_for(waiting, PATIENCE_SECONDS)
