"""Submission from a thread without an event loop.

The samples are read and encoded in the thread of the caller. They can come from an object that belongs to this thread,
or from another method of the same client. While this thread waits for a sample, the event loop sends the
samples before it.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator
from contextlib import aclosing
from threading import Event

from dropzone.background import BackgroundLoop
from dropzone.errors import DropzoneError
from dropzone.samples import Receipt
from dropzone.submission.sample_bytes import Encoded, SampleLike, check_samples, try_encode

Submit = Callable[[AsyncIterable[Encoded]], AsyncGenerator[Receipt | DropzoneError, None]]

_MAX_WAITING_SAMPLES, _MAX_WAITING_BYTES = 200, 8 * 2**20


class SampleFeed:
    """Samples on the way to the event loop, and their receipts on the way back."""

    def __init__(self, background: BackgroundLoop, submit: Submit) -> None:
        self._background = background
        self._submit = submit
        self._samples: deque[Encoded] = deque()
        self._receipts: deque[Receipt | DropzoneError] = deque()
        self._given_bytes = self._taken_bytes = 0  # each number is changed by one thread only
        self._is_complete = False
        self._wakes_loop = asyncio.Event()
        self._wakes_thread = Event()

    def receipts(self, samples: Iterable[SampleLike]) -> Iterator[Receipt | DropzoneError]:
        """Yield the receipt or the error of each sample.

        If the iteration of the samples fails, the receipts of the samples before are yielded first.
        """
        check_samples(samples)
        source = iter(samples)
        failure: Exception | None = None
        sending = self._background.start(self._send)
        sending.add_done_callback(lambda _: self._wakes_thread.set())
        try:
            while True:
                self._wakes_thread.clear()
                is_done = sending.done()
                if self._receipts:
                    yield self._receipts.popleft()
                elif is_done:
                    break
                elif self._is_complete or self._is_full():
                    self._wakes_thread.wait()
                else:
                    failure = self._give_next(source)
            self._background.result(sending)
        finally:
            sending.cancel()
        if failure is not None:
            raise failure

    def _give_next(self, source: Iterator[SampleLike]) -> Exception | None:
        """Give the next sample to the event loop. If the iteration of the samples fails, return its exception."""
        try:
            self._give(try_encode(next(source)))
        except StopIteration:
            self._complete()
        except Exception as error:  # noqa: BLE001 - raised after the receipts
            self._complete()
            return error
        return None

    def _give(self, sample: Encoded) -> None:
        self._samples.append(sample)
        self._given_bytes += _size(sample)
        self._background.notify(self._wakes_loop)

    def _complete(self) -> None:
        self._is_complete = True
        self._background.notify(self._wakes_loop)

    def _is_full(self) -> bool:
        waiting_bytes = self._given_bytes - self._taken_bytes
        return len(self._samples) >= _MAX_WAITING_SAMPLES or waiting_bytes >= _MAX_WAITING_BYTES

    async def _send(self) -> None:
        async with aclosing(self._taken()) as samples, aclosing(self._submit(samples)) as receipts:
            async for receipt in receipts:
                self._receipts.append(receipt)
                self._wakes_thread.set()

    async def _taken(self) -> AsyncGenerator[Encoded, None]:
        while True:
            self._wakes_loop.clear()
            is_complete = self._is_complete
            while self._samples:
                sample = self._samples.popleft()
                self._taken_bytes += _size(sample)
                self._wakes_thread.set()
                yield sample
            if is_complete:
                return
            await self._wakes_loop.wait()


def _size(sample: Encoded) -> int:
    return len(sample) if isinstance(sample, bytes) else 0
