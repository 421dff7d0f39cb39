"""Tasks that concurrent requests share, so that the same work is done only once at a time ("single flight")."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SharedTasks(Generic[K, V]):
    """The tasks in progress, by key. Used by one event loop."""

    def __init__(self) -> None:
        self._tasks: dict[K, asyncio.Task[V]] = {}

    async def run(self, key: K, start: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Return the result of the task with this key, or raise its exception. If none is in progress, start one.

        If the caller is cancelled, the task continues, because other callers may wait for it. The log lines and the
        spans of the task belong to the request that started it.
        """
        task = self._tasks.get(key)
        # The callback `_end` removes a task later than the task is done. A caller that calls `run` in a loop would
        # otherwise get the done task again and again, and block the event loop.
        if task is None or task.done():
            task = self._tasks[key] = asyncio.create_task(start())
            task.add_done_callback(partial(self._end, key))
        try:
            return await asyncio.shield(task)
        finally:
            del task  # the error of a task refers to this frame

    def replace(self, key: K) -> None:
        """Let the next call with this key start a new task. The result of the present task is out of date."""
        self._tasks.pop(key, None)

    def is_current(self, key: K) -> bool:
        """Return whether the running task is still the task with this key."""
        return self._tasks.get(key) is asyncio.current_task()

    async def cancel(self) -> None:
        """Cancel all tasks, and wait until they have ended."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self, key: K, task: asyncio.Task[V]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        if not task.cancelled():
            task.exception()  # otherwise asyncio logs the error if all callers have been cancelled
