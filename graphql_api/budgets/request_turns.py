"""Turns of requests: each iteration of the event loop starts only as many requests as fit into a few milliseconds.

A request needs about ten iterations. If 1,500 clients send a request each, and one iteration starts all of them, then
each iteration takes half a second, and a request of another submitter takes several seconds. With turns, the requests
of the 1,500 clients wait in a queue, and a request of another submitter starts in the next iteration.

Submitters take turns. All requests with an unknown key count as one submitter, and all requests without a key as
another one, for example health checks.
"""

import asyncio
import time
from collections.abc import Callable

from graphql_api.budgets.fair_queue import FairQueue

MAX_START_SECONDS = 0.004
"""Requests start at once in this part of an iteration. Later requests wait for the next iterations."""

MIN_STARTS = 8
"""The waiting requests that one iteration starts. They take 1 to 8 ms."""

_STARTED_SHARE = 1 / 64
"""The share of the waiting requests that one iteration starts. Otherwise, their number would grow without limit if
clients open connections faster than requests start.
"""


class RequestTurns:
    """Lets requests start. Belongs to one event loop."""

    def __init__(self) -> None:
        self._queue = FairQueue()
        self._ends_at: float | None = None
        """When requests of the current iteration no longer start at once. None before its first request."""

    async def wait(self, submitter: Callable[[], str]) -> None:
        """Return when a request of `submitter` may start. Call `submitter` only if the request has to wait."""
        if not self._may_start():
            await self._queue.wait(submitter())

    def _may_start(self) -> bool:
        if not self._queue.is_empty:
            return False
        now = time.perf_counter()
        if self._ends_at is None:
            self._ends_at = now + MAX_START_SECONDS
            asyncio.get_running_loop().call_soon(self._next_iteration)
        return now < self._ends_at

    def _next_iteration(self) -> None:
        """Let waiting requests start in this iteration and, if there are more, in the next one."""
        for _ in range(max(MIN_STARTS, int(len(self._queue) * _STARTED_SHARE))):
            if not self._queue.grant():
                self._ends_at = None
                return
        asyncio.get_running_loop().call_soon(self._next_iteration)
