"""A few threads that submitters share fairly: each submitter uses one thread at a time, and submitters take turns.

Validation holds the interpreter, so more threads would not validate faster. They would only delay the event loop.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

_Job = tuple[asyncio.Future[Any], Callable[[], Any]]


class FairExecutor:
    """Runs functions in threads. Belongs to one event loop."""

    def __init__(self, max_threads: int, name: str) -> None:
        self._threads = started_threads(max_threads, name)
        self._max_threads = max_threads
        self._queues: dict[str, deque[_Job]] = {}
        """The waiting jobs by submitter. The first submitter has the next turn."""
        self._running: set[str] = set()

    async def run(self, submitter: str, function: Callable[[], T]) -> T:
        """Return the result of `function`. If the caller is cancelled, the thread still completes the function."""
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(submitter, deque()).append((result, function))
        self._start()
        return await result

    def close(self) -> None:
        """Start no more functions."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        while len(self._running) < self._max_threads:
            submitter = next((each for each in self._queues if each not in self._running), None)
            if submitter is None:
                return
            queue = self._queues.pop(submitter)
            result, function = queue.popleft()
            if queue:
                self._queues[submitter] = queue  # after all other submitters
            if not result.done():  # a waiting caller can be cancelled
                self._running.add(submitter)
                running = asyncio.get_running_loop().run_in_executor(self._threads, function)
                running.add_done_callback(partial(self._end, submitter, result))

    def _end(self, submitter: str, result: asyncio.Future[Any], done: asyncio.Future[Any]) -> None:
        self._running.discard(submitter)
        error = None if done.cancelled() else done.exception()
        if not result.done():
            if done.cancelled():
                result.cancel()
            elif error is not None:
                result.set_exception(error)
            else:
                result.set_result(done.result())
        self._start()


def started_threads(count: int, name: str) -> ThreadPoolExecutor:
    """Return an executor whose threads have started. Later, there may be too little memory to start a thread."""
    threads = ThreadPoolExecutor(count, name)
    all_started = threading.Barrier(count + 1)
    for _ in range(count):
        threads.submit(all_started.wait)
    all_started.wait()
    return threads
