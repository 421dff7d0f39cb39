"""Turns: all Listen streams together handle few changes in one iteration of the event loop.

A commit of 500 documents can concern hundreds of targets. Without turns, all other calls would wait for seconds.
"""

import asyncio

MAX_STEPS = 100  # a step is to find the targets of a change, or to compare a change with a query: at most 2 ms together


class Turns:
    """The turns of all streams."""

    def __init__(self) -> None:
        self._steps = 0
        self._waiting = asyncio.Lock()

    async def take(self) -> None:
        """Wait until one more step is allowed. Streams that wait take turns."""
        while self._steps >= MAX_STEPS:
            async with self._waiting:
                if self._steps >= MAX_STEPS:  # no other stream has waited for the next iteration yet
                    await asyncio.sleep(0)
                    self._steps = 0
        self._steps += 1
