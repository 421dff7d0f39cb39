"""Each iteration of the event loop starts a few requests, and submitters take turns."""

import asyncio
import contextlib
import gc
import weakref
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest

from graphql_api.budgets import request_turns
from graphql_api.budgets.request_turns import MAX_STARTS, RequestTurns


def _named(submitter: str) -> Callable[[], str]:
    return lambda: submitter


@pytest.fixture
def no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """No request starts at once."""
    monkeypatch.setattr(request_turns, "MAX_START_SECONDS", 0)


async def _start(turns: RequestTurns, submitters: str) -> list[list[str]]:
    """Start a request of each submitter, and return the submitters whose requests started in each iteration."""
    iterations: list[list[str]] = [[]]

    async def request(submitter: str) -> None:
        await turns.wait(_named(submitter))
        iterations[-1].append(submitter)

    requests = [asyncio.create_task(request(submitter)) for submitter in submitters]
    while not all(task.done() for task in requests):
        await asyncio.sleep(0)
        iterations.append([])
    return [started for started in iterations if started]


@pytest.mark.usefixtures("no_time")
async def test_an_iteration_starts_a_limited_number_of_requests() -> None:
    """Other tasks run in between, however many requests arrive at the same time."""
    iterations = await _start(RequestTurns(), "a" * 200 * MAX_STARTS)

    assert [len(started) for started in iterations] == [MAX_STARTS] * 200


@pytest.mark.usefixtures("no_time")
async def test_submitters_take_turns() -> None:
    """The request of another submitter is one of the first, after hundreds of requests of one submitter."""
    first, *_ = await _start(RequestTurns(), "a" * 300 + "b")

    assert first[:2] == ["a", "b"]


async def test_requests_start_at_once_while_the_iteration_has_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server with few clients does not let them wait."""
    monkeypatch.setattr(request_turns, "MAX_START_SECONDS", 60)

    assert await _start(RequestTurns(), "a" * 10 * MAX_STARTS) == [["a"] * 10 * MAX_STARTS]


@pytest.mark.usefixtures("no_time")
async def test_requests_that_are_cancelled_take_no_turns() -> None:
    """The next request of the same submitter gets the turn, in the same iteration."""
    turns = RequestTurns()
    cancelled = [asyncio.create_task(turns.wait(_named("a"))) for _ in range(2 * MAX_STARTS)]
    await asyncio.sleep(0)
    for task in cancelled:
        task.cancel()

    first, *_ = await _start(turns, "a" + "b" * MAX_STARTS)

    assert first[0] == "a"
    assert all(task.cancelled() for task in cancelled)


@pytest.mark.usefixtures("no_time")
async def test_requests_of_clients_that_have_disconnected_take_no_turns() -> None:
    """They end without a start, and the requests of other clients with the same name start in the same iteration."""
    turns = RequestTurns()
    are_disconnected = [True] * MAX_STARTS + [False] * MAX_STARTS
    requests = [
        asyncio.create_task(turns.start(_named(""), partial(bool, is_disconnected)))
        for is_disconnected in are_disconnected
    ]
    await asyncio.sleep(0)  # the requests wait
    await asyncio.sleep(0)  # they get their turns
    await asyncio.sleep(0)

    assert [request.done() and request.result() for request in requests] == [not each for each in are_disconnected]


@pytest.mark.usefixtures("no_time")
async def test_an_iteration_ends_a_limited_number_of_requests_whose_clients_have_disconnected() -> None:
    """Ending a request takes time too."""
    turns = RequestTurns()
    requests = [asyncio.create_task(turns.start(_named(""), lambda: True)) for _ in range(1_000)]
    ended = [0]
    while not all(request.done() for request in requests):
        await asyncio.sleep(0)
        ended.append(sum(request.done() for request in requests))

    assert max(after - before for before, after in pairwise(ended)) < 50
    assert not any(request.result() for request in requests)


@pytest.mark.usefixtures("no_time")
async def test_a_long_queue_is_taken_from_both_ends() -> None:
    """A client among thousands with the same name gets a turn soon. The oldest requests wait twice as long."""
    turns, started = RequestTurns(), list[int]()

    async def request(number: int) -> None:
        await turns.wait(_named(""))
        started.append(number)

    requests = [asyncio.create_task(request(number)) for number in range(1_000)]
    await asyncio.sleep(0)
    requests.append(asyncio.create_task(request(1_000)))
    await asyncio.gather(*requests)

    assert {0, 1, 1_000} <= set(started[: 2 * MAX_STARTS])
    assert started[-10:] == list(range(started[-10], started[-10] + 10))
    assert sorted(started) == list(range(1_001))


@pytest.mark.usefixtures("no_time")
async def test_only_new_requests_are_refused() -> None:
    """The others hold connections that a refusal does not free, or are operations of a WebSocket."""
    turns = RequestTurns()
    continued = [asyncio.create_task(turns.wait(_named("a"))) for _ in range(200)]
    await asyncio.sleep(0)

    assert not turns.refuse(ValueError())
    await asyncio.gather(*continued)


@pytest.mark.usefixtures("no_time")
async def test_requests_without_a_client_are_ended_together_with_a_refusal() -> None:
    """Their connections are closed already, so ending them frees none."""
    turns = RequestTurns()
    requests = [
        asyncio.create_task(turns.start(_named("a"), partial(bool, is_disconnected)))
        for is_disconnected in [True] * 10 + [False] * 100
    ]
    await asyncio.sleep(0)

    assert turns.refuse(ValueError())
    outcomes = await asyncio.gather(*requests, return_exceptions=True)

    assert [isinstance(outcome, ValueError) for outcome in outcomes] == [True] * 11 + [False] * 99
    assert not turns.refuse(ValueError())


@pytest.mark.usefixtures("no_time")
async def test_a_refused_request_leaves_the_memory_at_once() -> None:
    """An error refers to the frames that it has left. With a reference from a frame to the error, this is a cycle."""
    turns = RequestTurns()

    class Scope:
        """The data of a request."""

    async def request(scope: Scope) -> None:
        with contextlib.suppress(ValueError):
            await turns.start(_named("a"), lambda: False)
        assert scope

    gc.disable()
    try:
        scopes = [Scope() for _ in range(100)]
        left = [weakref.ref(scope) for scope in scopes]
        requests = [asyncio.create_task(request(scope)) for scope in scopes]
        del scopes
        await asyncio.sleep(0)
        while turns.refuse(ValueError()):
            pass
        await asyncio.gather(*requests)
        del requests
        assert not [each for each in left if each() is not None]
    finally:
        gc.enable()
