"""Turns of requests to start: submitters take turns.

Each iteration of the event loop starts only as many requests as fit into a few milliseconds. A request needs about ten
iterations. If 1,500 clients send a request each, and one iteration starts all of them, then each iteration takes half a
second, and a request of another submitter takes several seconds. With turns, the requests of the 1,500 clients wait in
a queue, and a request of another submitter starts in the next iteration. All requests with an unknown key count as one
submitter. All requests without a key count as another one, except those of health checks.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from graphql_api.budgets.rotation import FairQueue, Rotation

MAX_START_SECONDS = 0.004
"""Requests start at once in this part of an iteration. Later requests wait for the next iterations."""

MAX_STARTS = 8
"""The waiting requests that one iteration starts. They take 1 to 8 ms."""

_MAX_ENDED = 16
"""Requests of clients that have disconnected, and that are ended together with a refusal."""


@dataclass(frozen=True, slots=True, eq=False)
class _NewRequest:
    """A request that waits to start."""

    turn: "asyncio.Future[None]"
    is_disconnected: Callable[[], bool]


class RequestTurns:
    """Lets requests start. Belongs to one event loop."""

    def __init__(self) -> None:
        self._queue = FairQueue(is_shared=True)
        self._new = Rotation[_NewRequest]()
        """The waiting requests that have not started. Other requests wait again before they continue."""
        self._ends_at: float | None = None
        """When requests of the current iteration no longer start at once. None before its first request.

        While requests wait, this time has passed. A new request therefore cannot overtake them.
        """

    async def start(self, submitter: Callable[[], str], is_disconnected: Callable[[], bool]) -> None:
        """Return when a new request of `submitter` may start. Call `submitter` only if the request has to wait.

        `is_disconnected` returns whether its client has disconnected. Raises the error that `refuse` gets.
        """
        if not self._must_wait():
            return
        name = submitter()
        turn = self._queue.new_turn(name)
        request = _NewRequest(turn, is_disconnected)
        self._new.add(name, request)
        try:
            await turn
        finally:
            self._new.remove(name, request)
            del turn, request  # the error of the turn refers to this frame

    async def wait(self, submitter: Callable[[], str]) -> None:
        """Return when a request of `submitter` may continue. Call `submitter` only if the request has to wait."""
        if self._must_wait():
            await self._queue.wait(submitter())

    def refuse(self, error: Exception) -> bool:
        """Refuse a new request of the submitter with the most of them. Return False if these are not many.

        Some requests of clients that have disconnected are ended too.
        """
        for _ in range(_MAX_ENDED):
            request = self._new.take_from_longest()
            if request is None:
                return False
            if not request.turn.done():
                request.turn.set_exception(error)
                if not request.is_disconnected():
                    return True
        return False

    def _must_wait(self) -> bool:
        now = time.perf_counter()
        if self._ends_at is None:
            self._ends_at = now + MAX_START_SECONDS
            asyncio.get_running_loop().call_soon(self._next_iteration)
        return now >= self._ends_at

    def _next_iteration(self) -> None:
        """Let waiting requests start in this iteration and, if there are more, in the next one."""
        for _ in range(MAX_STARTS):
            if not self._queue.grant():
                self._ends_at = None
                return
        asyncio.get_running_loop().call_soon(self._next_iteration)
