"""A result that requests share, because anyone who can connect may send any number of them."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class RecentResult(Generic[T]):
    """The result of `work`, or its error. The work starts at most once in `seconds`, and never twice at a time."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]], seconds: float) -> None:
        self._work = work
        self._seconds = seconds
        self._started_at = 0.0
        self._task: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """Return the result, or raise the error. If it is not recent, start the work and wait for it."""
        now = time.monotonic()
        if self._task is None or (self._task.done() and now - self._started_at >= self._seconds):
            self._started_at = now
            self._task = asyncio.create_task(self._work(), context=Context())  # it serves many requests
            self._task.add_done_callback(_retrieve_error)
        return await asyncio.shield(self._task)


def _retrieve_error(task: "asyncio.Task[Any]") -> None:
    """Mark an error as retrieved. Otherwise, asyncio logs it if all callers have disconnected."""
    if not task.cancelled():
        task.exception()
