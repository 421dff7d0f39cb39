"""Tasks that concurrent requests share, so that the same work is done only once at a time ("single flight")."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SharedTasks(Generic[K, V]):
    """The tasks in progress, by key. Used by one event loop."""

    def __init__(self, *, end_without_callers: bool = False) -> None:
        """If `end_without_callers` is true, cancel a task when all its callers have been cancelled."""
        self._tasks: dict[K, asyncio.Task[V]] = {}
        self._callers: Counter[asyncio.Task[V]] = Counter()
        self._end_without_callers = end_without_callers

    async def run(self, key: K, start: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Return the result of the task with this key, or raise its exception. If none is in progress, start one.

        If the caller is cancelled, the task continues for other callers. The log lines and the spans of the task
        belong to the request that started it.
        """
        task = self._tasks.get(key)
        # The callback `_end` removes a task later than the task is done. A caller that calls `run` in a loop would
        # otherwise get the done task again and again, and block the event loop.
        if task is None or task.done():
            task = self._tasks[key] = asyncio.create_task(start())
            task.add_done_callback(partial(self._end, key))
        self._callers[task] += 1
        try:
            return await asyncio.shield(task)
        finally:
            self._callers[task] -= 1
            if not self._callers[task]:
                del self._callers[task]
                if self._end_without_callers and not task.done():
                    task.cancel()
                    self._end(key, task)  # the next caller needs another task
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
        if task.done() and not task.cancelled():
            task.exception()  # otherwise asyncio logs the error if all callers have been cancelled
