"""Each turn of the event loop runs one step of long work, and submitters take turns."""

import asyncio
import time

from graphql_api.budgets import loop_turns
from graphql_api.budgets.loop_turns import LoopTurns


async def test_one_step_runs_in_each_turn_of_the_loop() -> None:
    """Other tasks run between two steps, however many requests have work."""
    turns = LoopTurns()
    steps_by_turn: list[int] = []
    steps = 0

    async def work(submitter: str) -> None:
        nonlocal steps
        turn = turns.of(submitter)
        for _ in range(5):
            await turn.start()
            steps += 1

    async def record() -> None:
        before = 0
        while True:
            steps_by_turn.append(steps - before)
            before = steps
            await asyncio.sleep(0)

    recording = asyncio.create_task(record())
    await asyncio.gather(*(work(submitter) for submitter in "aaab"))
    recording.cancel()

    assert steps == 20
    assert max(steps_by_turn) == 1


async def test_other_work_has_several_turns_after_a_long_step() -> None:
    """A submit needs about ten turns of the loop. It would wait for as many long steps."""
    turns = LoopTurns()
    others = 0
    others_before_steps = []

    async def count() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    turn = turns.of("many")
    for _ in range(3):
        await turn.start()
        others_before_steps.append(others)
        time.sleep(0.05)  # noqa: ASYNC251 - the step blocks the event loop
    counting.cancel()

    first, second, third = others_before_steps
    assert min(second - first, third - second) >= 10


async def test_submitters_take_turns() -> None:
    """A submitter with one request gets every second step while another has a hundred requests."""
    turns = LoopTurns()
    order: list[str] = []

    async def work(submitter: str) -> None:
        await turns.wait(submitter)
        order.append(submitter)

    await asyncio.gather(*(work("many") for _ in range(100)), *(work("few") for _ in range(3)))

    assert order[:6] == ["many", "few"] * 3


async def test_a_request_that_is_cancelled_takes_no_step() -> None:
    """The next request gets the step."""
    turns = LoopTurns()
    first, second = (asyncio.create_task(turns.wait("a")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()

    await second

    assert first.cancelled()
    await turns.wait("a")


async def test_a_step_continues_until_its_time_is_used() -> None:
    """Short work does not wait for a turn of the event loop."""
    turn = LoopTurns().of("a")
    turn._ends_at += 60
    other = asyncio.create_task(asyncio.sleep(0))
    await turn.pause()
    assert not other.done()

    turn._ends_at -= 60 + loop_turns.MAX_STEP_SECONDS
    await turn.pause()
    assert other.done()
