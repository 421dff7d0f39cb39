"""Pauses of scheduled work. During a pause, the function processes events."""

import asyncio
import time

MAX_WORK_SECONDS = 0.002
"""Scheduled work pauses after this time of work."""


class EventPause:
    """Lets the function process events between pieces of scheduled work, which call and await this object."""

    def __init__(self) -> None:
        self._work_ends_at = 0.0

    async def __call__(self) -> None:
        """Let events be processed, if `MAX_WORK_SECONDS` of work have passed since the last pause."""
        if time.perf_counter() >= self._work_ends_at:
            await asyncio.sleep(0)
            self._work_ends_at = time.perf_counter() + MAX_WORK_SECONDS
