"""Turns: long work on the event loop is cut into steps, and each iteration of the loop runs one step.

Without turns, 40 requests that each work for 2 ms in the same iteration of the event loop delay every other request by
80 ms. Submitters take turns, so a submitter with 64 requests gets as many steps as a submitter with a single request.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from graphql_api.budgets.fair_queue import FairQueue

T = TypeVar("T")
U = TypeVar("U")

MAX_STEP_SECONDS = 0.002


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
        """Grant one step now, and the next step in the next iteration of the event loop."""
        self._is_granting = self._queue.grant()
        if self._is_granting:
            asyncio.get_running_loop().call_soon(self._grant)


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
