"""Turns of requests to start: submitters take turns.

Each iteration of the event loop starts only as many requests as fit into a few milliseconds. A request needs about ten
iterations. If 1,500 clients send a request each, and one iteration starts all of them, then each iteration takes half a
second, and a request of another submitter takes several seconds. With turns, the requests of the 1,500 clients wait in
a queue, and a request of another submitter starts in the next iteration. All requests with an unknown key count as one
submitter. All requests without a key count as another one, except those of health checks.
"""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from graphql_api.budgets.rotation import Rotation

MAX_START_SECONDS = 0.004
"""Requests start at once in this part of an iteration. Later requests wait for the next iterations."""

MAX_STARTS = 8
"""The waiting requests that one iteration starts. They take 1 to 8 ms."""

_MAX_ENDED = 16
"""Requests of clients that have disconnected, and that end in one iteration or together with a refusal."""


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    """A request that waits."""

    turn: "asyncio.Future[bool]"
    """Its result says whether the client was connected when the request got its turn."""

    is_disconnected: Callable[[], bool]


class RequestTurns:
    """Lets requests start. Belongs to one event loop."""

    def __init__(self) -> None:
        self._waiting = Rotation[_Request](is_shared=True)
        self._new = Rotation[_Request]()
        """The waiting requests that have not started. Other requests wait again before they continue."""
        self._ends_at: float | None = None
        """When requests of the current iteration no longer start at once. None before its first request.

        Minus infinity while requests wait, so that a new request cannot overtake them.
        """

    async def start(self, submitter: Callable[[], str], is_disconnected: Callable[[], bool]) -> bool:
        """Return when a new request of `submitter` may start. Call `submitter` only if the request has to wait.

        `is_disconnected` returns whether its client has disconnected. Returns False if this happened while the request
        waited: the request must not start. Raises the error that `refuse` gets.
        """
        if not self._must_wait():
            return True
        name, request = submitter(), _Request(asyncio.get_running_loop().create_future(), is_disconnected)
        self._waiting.add(name, request)
        self._new.add(name, request)
        try:
            return await request.turn
        finally:
            self._new.remove(name, request)
            del request  # the error of its turn refers to this frame

    async def wait(self, submitter: Callable[[], str]) -> None:
        """Return when a request of `submitter` may continue. Call `submitter` only if the request has to wait."""
        if self._must_wait():
            request = _Request(asyncio.get_running_loop().create_future(), lambda: False)
            self._waiting.add(submitter(), request)
            await request.turn

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
        if now < self._ends_at:
            return False
        self._ends_at = -math.inf
        return True

    def _next_iteration(self) -> None:
        """Let waiting requests start in this iteration and, if there are more, in the next one.

        Requests of clients that have disconnected end without a start. They do not take the turns of others.
        """
        if self._ends_at != -math.inf:  # no request has to wait
            self._ends_at = None
            return
        started = ended = 0
        while self._waiting and started < MAX_STARTS and ended < _MAX_ENDED:
            request = self._waiting.take()
            if request.turn.done():  # a waiting request can be cancelled or refused
                continue
            is_connected = not request.is_disconnected()
            request.turn.set_result(is_connected)
            started += is_connected
            ended += not is_connected
        if started < MAX_STARTS and ended < _MAX_ENDED:
            self._ends_at = None
        else:
            asyncio.get_running_loop().call_soon(self._next_iteration)
