"""The client for programs without an event loop: `AsyncClient`, run by a loop in a thread of its own.

The thread keeps no program from ending: one that forgets to close its client ends all the same.
"""

import asyncio
import atexit
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator
from threading import Thread
from types import TracebackType
from typing import Any, Self, TypeVar, cast
from weakref import WeakSet

from dropzone.asynchronous import AsyncClient
from dropzone.errors import DropzoneError
from dropzone.filters import ResultFilter, ResultOrder, SampleFilter
from dropzone.model import Bucket, Receipt, Result, ResultEdge, Sample, Summary, TimeBucket
from dropzone.submission import SampleLike

T = TypeVar("T")


class Client:
    """Dropzone at one address, with one key; `with` closes its connections.

    Every method does what that of `AsyncClient` does. Iterators fetch as they are read; one that is not read to its
    end is closed by its `close`, or with the client.
    """

    def __init__(self, url: str | None = None, key: str | None = None, *, patience: float = 60.0) -> None:
        self._client = AsyncClient(url, key, patience=patience)
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="dropzone", daemon=True)
        self._thread.start()
        atexit.register(self.close)
        self._open: WeakSet[Iterator[Any]] = WeakSet()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections and end the thread."""
        if self._loop.is_closed():
            return
        atexit.unregister(self.close)
        for iterator in list(self._open):
            cast("Any", iterator).close()
        self._call(self._client.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def ping(self) -> None:
        """Ask for nothing, once: raises where nothing answers or the key is not taken."""
        self._call(self._client.ping)

    def submit(self, sample: SampleLike, *, idempotency_key: str | None = None) -> Receipt:
        """Submit one sample; the receipt says PENDING, or REJECTED with its problems."""
        return self._call(lambda: self._client.submit(sample, idempotency_key=idempotency_key))

    def submit_many(self, samples: Iterable[SampleLike], *, concurrency: int = 64) -> Iterator[Receipt | DropzoneError]:
        """Submit any number of samples and yield a receipt for each, in their order, or the error in its place."""
        return self._iterate(lambda: self._client.submit_many(samples, concurrency=concurrency))

    def sample(self, sample_id: str) -> Sample:
        """Return a sample, with its result where there is one. Raises `NotFound`."""
        return self._call(lambda: self._client.sample(sample_id))

    def raw(self, sample_id: str) -> bytes:
        """Return a sample byte for byte as it was submitted. Raises `NotFound`."""
        return self._call(lambda: self._client.raw(sample_id))

    def result(self, sample_id: str) -> Result | None:
        """Return the result of a sample, None where there is none (yet)."""
        return self._call(lambda: self._client.result(sample_id))

    def wait(self, sample_ids: Iterable[str]) -> Iterator[Receipt]:
        """Yield each of these samples once it is COMPUTED, FAILED or REJECTED."""
        return self._iterate(lambda: self._client.wait(sample_ids))

    def results(
        self,
        where: ResultFilter | None = None,
        order_by: ResultOrder | None = None,
        limit: int | None = None,
    ) -> Iterator[Result]:
        """Yield results, the latest time stamp first unless said otherwise."""
        return self._iterate(lambda: self._client.results(where, order_by, limit))

    def samples(self, where: SampleFilter | None = None, limit: int | None = None) -> Iterator[Sample]:
        """Yield samples, the newest first."""
        return self._iterate(lambda: self._client.samples(where, limit))

    def cursor(self) -> str | None:
        """Return the place behind all results that there are, from which one can watch; None while there are none."""
        return self._call(self._client.cursor)

    def watch(self, where: ResultFilter | None = None, after: str | None = None) -> Iterator[ResultEdge]:
        """Yield results as they are stored, each once and in order, for ever."""
        return self._iterate(lambda: self._client.watch(where, after))

    def summary(self, where: ResultFilter | None = None) -> Summary:
        """Return the statistics of the values of many results taken together."""
        return self._call(lambda: self._client.summary(where))

    def over_time(self, bucket: TimeBucket, where: ResultFilter | None = None) -> list[Bucket]:
        """Return the same for each stretch of time that has results."""
        return self._call(lambda: self._client.over_time(bucket, where))

    def _call(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        future = asyncio.run_coroutine_threadsafe(function(), self._loop)
        try:
            return future.result()
        except BaseException:  # Ctrl-C while waiting ends what is waited for
            future.cancel()
            raise

    def _iterate(self, generator: Callable[[], AsyncGenerator[T, None]]) -> Iterator[T]:
        iterator = self._read(generator())
        self._open.add(iterator)
        return iterator

    def _read(self, generator: AsyncGenerator[T, None]) -> Iterator[T]:
        end = object()
        stepping = asyncio.Lock()  # Ctrl-C interrupts the wait for a step, and then the step itself

        async def step() -> T | object:
            async with stepping:
                return await anext(generator, end)

        async def close() -> None:
            async with stepping:
                await generator.aclose()

        try:
            while (item := self._call(step)) is not end:
                yield cast("T", item)
        finally:
            if not self._loop.is_closed():
                self._call(close)
