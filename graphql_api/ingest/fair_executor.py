"""A few threads that submitters share fairly: each submitter uses one thread at a time, and submitters take turns.

Validation holds the interpreter, so more threads would not validate faster. They would only delay the event loop.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")


class FairExecutor:
    """Runs functions in threads. Belongs to one event loop."""

    def __init__(self, max_threads: int, name: str) -> None:
        self._threads = started_threads(max_threads, name)
        self._free_threads = asyncio.Semaphore(max_threads)
        self._turns = WeakValueDictionary[str, asyncio.Lock]()
        """A function holds the lock of its submitter while it waits for a thread and while it runs.

        Each submitter therefore has at most one function in the queue for a thread. The next one waits at the end.
        """

    async def run(self, submitter: str, function: Callable[[], T]) -> T:
        """Return the result of `function`. If the caller is cancelled, the thread still completes the function."""
        turn = self._turns.setdefault(submitter, asyncio.Lock())
        await turn.acquire()
        try:
            await self._free_threads.acquire()
        except BaseException:
            turn.release()
            raise

        def end(_: asyncio.Future[T]) -> None:
            self._free_threads.release()
            turn.release()

        running = asyncio.get_running_loop().run_in_executor(self._threads, function)
        running.add_done_callback(end)
        try:
            return await asyncio.shield(running)
        finally:
            del running  # the error of the future refers to this frame

    def close(self) -> None:
        """Start no more functions."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def started_threads(count: int, name: str) -> ThreadPoolExecutor:
    """Return an executor whose threads have started. Later, there may be too little memory to start a thread."""
    threads = ThreadPoolExecutor(count, name)
    all_started = threading.Barrier(count + 1)
    for _ in range(count):
        threads.submit(all_started.wait)
    all_started.wait()
    return threads
