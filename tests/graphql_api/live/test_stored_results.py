"""Subscribers of one submitter take turns to read stored results from Firestore."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from graphql_api.budgets import loop_turns
from graphql_api.budgets.budgets import Budgets
from graphql_api.configuration.limits import Limits
from graphql_api.live import live_results
from graphql_api.live.listener import Position
from graphql_api.live.live_results import LiveResults
from storage.firestore.client import Firestore
from tests.graphql_api.budgets.sender import Sender
from tests.graphql_api.live.written_results import SHARDS, write
from tests.stack import PATIENCE_SECONDS, Stack, eventually

BEGINNING: Position = (datetime(2020, 1, 1, tzinfo=UTC), "")
RESULTS = 65


@pytest.fixture
async def budgets() -> Budgets:
    """Return budgets that let one subscriber of a submitter read stored results at a time."""
    return Budgets(Limits(max_replays_per_submitter=1))


@pytest.fixture
async def live(firestore: Firestore, budgets: Budgets) -> AsyncIterator[LiveResults]:
    """Return the live results of the stack's Firestore."""
    live = LiveResults(firestore, budgets, max_log_length=10, shards=SHARDS)
    yield live
    await live.close()


async def write_results(stack: Stack) -> tuple[str, list[str]]:
    """Write results of a new submitter. Return the submitter and the ids of the results, in order."""
    submitter = f"stored-{uuid4()}"
    return submitter, [sample_id for _, sample_id in await write(stack, submitter, RESULTS)]


async def collect(live: LiveResults, submitter: str, name: str, received: list[tuple[str, str]]) -> list[str]:
    """Return the ids of all stored results. Add each to `received` with the name of this subscriber."""
    ids: list[str] = []
    async with aclosing(live.follow(Sender(submitter), BEGINNING)) as results:
        async for written in results:
            ids.append(written.position[1])
            received.append((name, ids[-1]))
            if len(ids) == RESULTS:
                break
            await asyncio.sleep(0)
    return ids


async def test_subscribers_wait_while_others_read_stored_results(
    stack: Stack, live: LiveResults, budgets: Budgets
) -> None:
    """A thousand subscribers that read at the same time used 1.3 GiB of Firestore and delayed others by 7 s."""
    submitter, ids = await write_results(stack)
    received: list[tuple[str, str]] = []
    async with aclosing(live.follow(Sender(submitter), BEGINNING)) as first:
        assert (await anext(first)).position[1] == ids[0]
        waiting = asyncio.create_task(collect(live, submitter, "waiting", received))
        await asyncio.to_thread(eventually, lambda: budgets.submitter(submitter).replays.waiting == 1)
        assert received == []

    assert await asyncio.wait_for(waiting, PATIENCE_SECONDS) == ids
    assert budgets.submitter(submitter).replays.used == 0


async def test_an_operator_does_not_let_the_subscribers_of_the_submitter_wait(
    stack: Stack, live: LiveResults, budgets: Budgets
) -> None:
    """The limits of the operator apply to its subscriptions to the results of another submitter."""
    submitter, ids = await write_results(stack)
    operator = Sender(submitter, operator=f"operator-{uuid4()}")
    async with aclosing(live.follow(operator, BEGINNING)) as first:
        assert (await anext(first)).position[1] == ids[0]
        assert budgets.charged(operator).replays.used == 1

        assert await asyncio.wait_for(collect(live, submitter, "own", []), PATIENCE_SECONDS) == ids


async def test_a_subscriber_with_many_stored_results_takes_turns_with_others(
    stack: Stack, live: LiveResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, a new subscriber would wait until the others have read years of results. No result is missing."""
    monkeypatch.setattr(live_results, "_MAX_REPLAY_SECONDS", 0.0)
    submitter, ids = await write_results(stack)
    received: list[tuple[str, str]] = []

    async with asyncio.timeout(PATIENCE_SECONDS):
        collected = await asyncio.gather(*(collect(live, submitter, name, received) for name in ("first", "second")))

    assert collected == [ids, ids]
    assert received.index(("second", ids[0])) < received.index(("first", ids[-1]))


async def test_a_subscriber_that_skips_results_lets_others_use_the_event_loop(
    stack: Stack, live: LiveResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its filter can exclude all results of a page that is already in memory."""
    monkeypatch.setattr(loop_turns, "MAX_STEP_SECONDS", 0.0)
    submitter, ids = await write_results(stack)
    iterations: list[int] = []
    ticking = asyncio.create_task(tick(iterations))
    at_first = at_last = 0
    async with aclosing(live.follow(Sender(submitter), BEGINNING)) as results:
        async for written in results:
            if written.position[1] == ids[0]:
                at_first = len(iterations)
            if written.position[1] == ids[-1]:
                at_last = len(iterations)
                break
    ticking.cancel()

    assert at_last - at_first >= RESULTS // live_results._STEP_RESULTS - 1


async def tick(iterations: list[int]) -> None:
    """Count the iterations of the event loop."""
    while True:
        iterations.append(len(iterations))
        await asyncio.sleep(0)
