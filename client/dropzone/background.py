"""An event loop in a background thread, for programs without an event loop.

The thread is a daemon, so a program that does not stop it still exits.
"""

import asyncio
import atexit
import os
import selectors
import warnings
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from threading import Lock, Thread, current_thread
from typing import Any, TypeVar, cast
from weakref import WeakSet

from dropzone.errors import ClientClosed
from dropzone.transport.lifetime import other_process

T = TypeVar("T")

CANCEL_SECONDS = 1.0
"""The time after which work that has not ended is cancelled again.

`asyncio.wait_for` of Python 3.11 ignores a cancellation if what it waits for ends at the same moment.
"""


class BackgroundLoop:
    """Runs coroutines and async generators for other threads, until `close` is called or the program exits.

    `on_close` is the coroutine function that runs at the end. If a loop is not closed, it ends when it is collected.
    """

    _is_closed = True  # until the constructor has ended: if it fails, `__del__` has nothing to end

    def __init__(self, on_close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._on_close = on_close
        self._loop = _new_event_loop()
        self._thread = Thread(target=_run, args=(self._loop,), name="dropzone", daemon=True)
        self._thread.start()
        self._process_id = os.getpid()
        self._lock = Lock()
        self._tasks: set[asyncio.Task[Any] | None] = set()
        self._generators: set[AsyncGenerator[Any, None]] = set()
        self._is_closed = False
        _open_loops.add(self)

    def __del__(self) -> None:
        """Close the connections and stop the thread, without waiting: the collector can run in any thread."""
        if self._is_closed or os.getpid() != self._process_id:
            return
        loop = self._loop
        ending = asyncio.run_coroutine_threadsafe(self._on_close(), loop)
        ending.add_done_callback(lambda _: loop.call_soon_threadsafe(loop.stop))
        message = "a client was not closed; use it in a `with` statement"
        warnings.warn(message, ResourceWarning, stacklevel=2, source=self)

    def start(self, function: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Start a coroutine in the event loop. Raises `ClientClosed` after `close`, and in a forked process."""
        if os.getpid() != self._process_id:
            raise other_process()
        with self._lock:  # `_end` runs after each coroutine that is started here
            if self._is_closed:
                raise _closed()
            return asyncio.run_coroutine_threadsafe(self._run(function), self._loop)

    def call(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine in the event loop and return its result. Ctrl-C cancels it."""
        return self.result(self.start(function))

    def result(self, future: Future[T]) -> T:
        """Wait for a coroutine that was started. Return its result."""
        try:
            return future.result()
        except CancelledError:
            raise _closed() from None
        except BaseException:
            future.cancel()
            raise

    def notify(self, event: asyncio.Event) -> None:
        """Set an event in the event loop, unless the event loop is closed."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(event.set)

    def iterate(self, function: Callable[[], AsyncGenerator[T, None]]) -> Iterator[T]:
        """Yield the items of an async generator. It advances in the event loop while the next item is awaited."""
        generator, end = function(), object()
        lock = asyncio.Lock()  # after Ctrl-C, `close` waits until the interrupted step has ended

        async def step() -> T | object:
            async with lock:
                return await anext(generator, end)

        async def close() -> None:
            async with lock:
                await generator.aclose()

        self._generators.add(generator)
        try:
            while (item := self.call(step)) is not end:
                yield cast("T", item)
        finally:
            self._generators.discard(generator)
            with suppress(ClientClosed):
                closing = self.start(close)
                if current_thread() is not self._thread:  # the garbage collector can run in any thread
                    self.result(closing)

    def close(self) -> None:
        """Cancel everything that runs in the event loop, run `on_close`, and stop the thread.

        Other threads that wait for the event loop get `ClientClosed`.
        """
        if os.getpid() != self._process_id:  # a forked process has no such thread
            return
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        try:
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    async def _run(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            return await function()
        finally:
            self._tasks.discard(task)

    async def _end(self) -> None:
        tasks = {task for task in self._tasks if task is not None}
        while tasks:
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=CANCEL_SECONDS)
        for generator in list(self._generators):
            await generator.aclose()
        await self._on_close()


_open_loops = WeakSet[BackgroundLoop]()


@atexit.register
def _close_all() -> None:
    for loop in list(_open_loops):
        loop.close()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


def _new_event_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop that uses `poll`, if the system has it.

    A forked process shares the state of `epoll`. When it ends, it would remove the connections of this process from it.
    """
    if hasattr(selectors, "PollSelector"):
        return asyncio.SelectorEventLoop(selectors.PollSelector())
    return asyncio.new_event_loop()


def _closed() -> ClientClosed:
    return ClientClosed("the client is closed; create another client")
