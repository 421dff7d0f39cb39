"""Tasks that concurrent requests share, so that the same work is done only once at a time ("single flight").

If anyone can send the requests, a task can also be shared for a while after its end. Otherwise, a client could repeat
the work as fast as the server does it.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SharedTasks(Generic[K, V]):
    """The tasks that callers can share, by key. Used by one event loop."""

    def __init__(self, *, end_without_callers: bool = False, shared_seconds: float = 0.0) -> None:
        """If `end_without_callers` is true, cancel a task when all its callers have been cancelled.

        Share the result or the error of a task until `shared_seconds` after its start. By default, share a task only
        until it ends.
        """
        self._tasks: dict[K, asyncio.Task[V]] = {}
        self._shared_seconds = shared_seconds
        self._shared_until: dict[K, float] = {}
        """When the result of each task becomes too old, in the time of the event loop."""
        self._callers: Counter[asyncio.Task[V]] = Counter()
        self._end_without_callers = end_without_callers

    async def run(self, key: K, start: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Return the result of the task with this key, or raise its exception. If there is none, start one.

        If the caller is cancelled, the task continues for other callers. The log lines and the spans of the task
        belong to the request that started it.
        """
        task = self._tasks.get(key)
        # The callback `_end` removes a task later than the task is done. A caller that calls `run` in a loop would
        # otherwise get the done task again and again, and block the event loop.
        now = asyncio.get_running_loop().time()
        if task is None or (task.done() and now >= self._shared_until[key]):
            task = self._tasks[key] = asyncio.create_task(start())
            self._shared_until[key] = now + self._shared_seconds
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
                    self._forget(key, task)  # the next caller needs another task
            del task  # the error of a task refers to this frame

    def invalidate(self, key: K) -> None:
        """Let the next call with this key start a new task. The result of the present task is out of date."""
        if (task := self._tasks.get(key)) is not None:
            self._forget(key, task)

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
        loop = asyncio.get_running_loop()
        if self._tasks.get(key) is task:
            if self._shared_until[key] > loop.time():
                loop.call_at(self._shared_until[key], self._forget, key, task)
            else:
                self._forget(key, task)
        if not task.cancelled():
            task.exception()  # otherwise asyncio logs the error if all callers have been cancelled

    def _forget(self, key: K, task: asyncio.Task[V]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key], self._shared_until[key]
