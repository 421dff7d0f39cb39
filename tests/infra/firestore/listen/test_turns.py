"""Many Listen streams share the event loop with other calls."""

import asyncio

from infra.embedded.firestore.listen.turns import MAX_STEPS, Turns


async def test_other_calls_run_between_the_comparisons_of_many_streams() -> None:
    """In one iteration of the event loop, all streams together take few steps."""
    turns, steps, per_iteration = Turns(), [0], []

    async def stream() -> None:
        for _ in range(250):
            await turns.take()
            steps[0] += 1

    streams = [asyncio.create_task(stream()) for _ in range(20)]
    while not all(each.done() for each in streams):
        before = steps[0]
        await asyncio.sleep(0)
        per_iteration.append(steps[0] - before)

    assert steps[0] == 20 * 250
    assert max(per_iteration) <= MAX_STEPS
