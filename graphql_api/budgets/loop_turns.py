"""Turns on the event loop: submitters take turns to run the steps of long work.

Long work is cut into steps, and each iteration of the event loop runs one step. Without turns, 40 requests that each
work for 2 ms in the same iteration delay every other request by 80 ms. A submitter with 64 requests gets as many steps
as a submitter with a single request. Some steps cannot be divided: parsing a long document takes 20 ms. After such a
step, other requests have several iterations without a step.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from graphql_api.budgets.rotation import FairQueue

T = TypeVar("T")
U = TypeVar("U")

MAX_STEP_SECONDS = 0.002

_LONG_STEP_SECONDS = 2 * MAX_STEP_SECONDS

_PAUSED_ITERATIONS = 20
"""Iterations of the event loop without a step after a long step, within the time that the long step has taken. With
documents of 1,900 fields over 64 connections, a submit of another tenant took up to 258 ms without them.
"""


class LoopTurns:
    """Grants one step at a time. Belongs to one event loop."""

    def __init__(self) -> None:
        self._queue = FairQueue()
        self._is_granting = False

    def of(self, submitter: str) -> "LoopTurn":
        """Return a turn of one request of `submitter`. Its first step starts now."""
        return LoopTurn(self, submitter)

    async def wait(self, submitter: str) -> None:
        """Wait for the next step of `submitter`."""
        if not self._is_granting:
            self._is_granting = True
            asyncio.get_running_loop().call_soon(self._grant)
        await self._queue.wait(submitter)

    def _grant(self) -> None:
        """Grant one step. It runs in the next iteration of the event loop, directly before `_continue`."""
        self._is_granting = self._queue.grant()
        if self._is_granting:
            asyncio.get_running_loop().call_soon(self._continue, time.perf_counter())

    def _continue(self, granted_at: float) -> None:
        """Grant the next step. After a long step, first let other requests run."""
        now = time.perf_counter()
        is_long = now - granted_at > _LONG_STEP_SECONDS
        self._grant_after(_PAUSED_ITERATIONS if is_long else 0, 2 * now - granted_at)

    def _grant_after(self, iterations: int, latest: float) -> None:
        """Grant the next step after some iterations, or at the time `latest` if that is earlier."""
        if iterations and time.perf_counter() < latest:
            asyncio.get_running_loop().call_soon(self._grant_after, iterations - 1, latest)
        else:
            self._grant()


class LoopTurn:
    """The current step of one request. The request calls `pause` between short pieces of its work."""

    __slots__ = ("_ends_at", "_submitter", "_turns")

    def __init__(self, turns: LoopTurns, submitter: str) -> None:
        self._turns = turns
        self._submitter = submitter
        self._ends_at = time.perf_counter() + MAX_STEP_SECONDS

    @property
    def is_over(self) -> bool:
        """Whether the step has used its time."""
        return time.perf_counter() >= self._ends_at

    async def start(self) -> None:
        """Wait for a step and start it."""
        await self._turns.wait(self._submitter)
        self._ends_at = time.perf_counter() + MAX_STEP_SECONDS

    async def map(self, function: Callable[[T], U], items: Iterable[T]) -> list[U]:
        """Return the value of `function` for each item. Pause between the items."""
        values = []
        for item in items:
            await self.pause()
            values.append(function(item))
        return values

    async def pause(self) -> None:
        """If the step has used its time, wait for the next one."""
        if self.is_over:
            await self.start()
