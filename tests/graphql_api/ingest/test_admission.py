"""Streams wait for the budgets of their submitter."""

import asyncio

import pytest

from graphql_api.budgets.budgets import Budgets
from graphql_api.configuration.limits import Limits
from graphql_api.ingest import admission as admission_module
from graphql_api.ingest.admission import Admission
from storage.documents import RateLimited
from tests.graphql_api.budgets.sender import Sender
from tests.stack import PATIENCE_SECONDS


def none() -> None:
    """Let a stream wait."""


def gone() -> None:
    """End a stream that waits."""
    raise ConnectionError


def admission() -> Admission:
    """Return an admission with the default limits."""
    return Admission(Budgets(Limits()), lambda: 1_000)


async def test_a_stream_waits_for_the_rate() -> None:
    """It is not refused."""
    budgets = Budgets(Limits(max_samples_per_second_per_submitter=1_000))
    with Admission(budgets, lambda: 1_000).stream(Sender("a"), none) as stream:
        for _ in range(15):
            await stream.wait(100, 0)
            stream.release(100, 0)
        await stream.wait(1_000_000, 0)

    with pytest.raises(RateLimited):
        budgets.admit_samples(Sender("a"), 1, 0)


async def test_a_stream_that_waits_notices_the_end_of_its_client() -> None:
    """The budget is not used."""
    budgets = Budgets(Limits(max_samples_per_second_per_submitter=1))
    budgets.admit_samples(Sender("a"), 1_000_000, 0)

    with Admission(budgets, lambda: 1_000).stream(Sender("a"), gone) as stream, pytest.raises(ConnectionError):
        await stream.wait(1, 0)


async def test_the_streams_of_a_submitter_share_the_lines_in_flight() -> None:
    """They get room in the order in which they began to wait, and streams that end give theirs back."""
    budget = admission()
    order: list[int] = []
    with (
        budget.stream(Sender("a"), none) as first,
        budget.stream(Sender("a"), none) as second,
        budget.stream(Sender("b"), none) as other,
    ):
        await first.wait(1_500, 0)

        async def wait(number: int, lines: int) -> None:
            await second.wait(lines, 0)
            order.append(number)

        waiting = [asyncio.create_task(wait(number, lines)) for number, lines in enumerate((1_000, 10, 10))]
        await asyncio.sleep(0.01)
        assert order == []
        await other.wait(2_000, 0)

        first.close()
        await asyncio.gather(*waiting)

    assert order == [0, 1, 2]


async def test_a_stream_keeps_its_place_while_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that needs much room would otherwise wait as long as others need little."""
    monkeypatch.setattr(admission_module, "_CHECK_SECONDS", 0.2)
    budget = admission()
    order: list[str] = []
    checks: dict[str, asyncio.Event] = {"large": asyncio.Event(), "small": asyncio.Event()}
    with budget.stream(Sender("a"), none) as first:
        await first.wait(2_000, 0)

        async def wait(name: str, lines: int) -> None:
            with budget.stream(Sender("a"), checks[name].set) as stream:
                await stream.wait(lines, 0)
                order.append(name)

        large = asyncio.create_task(wait("large", 1_000))
        await asyncio.sleep(0.1)
        small = asyncio.create_task(wait("small", 10))
        await asyncio.sleep(0)
        checks["large"].clear()
        await checks["large"].wait()

        first.close()
        await asyncio.gather(large, small)

    assert order == ["large", "small"]


async def test_a_stream_that_ends_when_its_turn_comes_gives_its_lines_back() -> None:
    """Its client can disconnect in the iteration of the event loop in which other lines get their outcomes."""
    with admission().stream(Sender("a"), none) as stream:
        await stream.wait(2_000, 0)
        waiting = asyncio.create_task(stream.wait(1_000, 0))
        await asyncio.sleep(0)
        stream.release(2_000, 0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

        async with asyncio.timeout(PATIENCE_SECONDS):
            await stream.wait(2_000, 0)


async def test_a_stream_that_ends_its_wait_lets_smaller_ones_start() -> None:
    """No other stream has to end for this."""
    budget = admission()
    with budget.stream(Sender("a"), none) as stream:
        await stream.wait(1_900, 0)
        large = asyncio.create_task(stream.wait(1_000, 0))
        await asyncio.sleep(0)
        small = asyncio.create_task(stream.wait(100, 0))
        await asyncio.sleep(0)

        large.cancel()

        await asyncio.wait_for(small, PATIENCE_SECONDS)


async def test_one_batch_of_any_size_is_admitted() -> None:
    """Its line is as large as a sample may be."""
    with admission().stream(Sender("a"), none) as stream:
        await stream.wait(1, 2**30)


async def test_lines_of_a_stream_that_was_cancelled_are_released() -> None:
    """Those that waited and those that were in flight."""
    budget = admission()
    with budget.stream(Sender("a"), none) as first:
        await first.wait(2_000, 0)
        waiting = asyncio.create_task(first.wait(2_000, 0))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    with budget.stream(Sender("a"), none) as second:
        await asyncio.wait_for(second.wait(2_000, 0), PATIENCE_SECONDS)


async def test_a_stream_has_few_lines_in_flight_while_the_submitter_may_have_few_writes() -> None:
    """Lines that wait for the writer would take CPU time from other submitters."""
    share = 1_000
    with Admission(Budgets(Limits()), lambda: share).stream(Sender("a"), none) as stream:
        await stream.wait(100, 0)
        share = 10
        waiting = asyncio.create_task(stream.wait(10, 0))
        await asyncio.sleep(0.01)
        assert not waiting.done()

        stream.release(70, 0)

        await asyncio.wait_for(waiting, PATIENCE_SECONDS)
