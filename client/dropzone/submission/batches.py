"""Batches of samples that are sent in one request, and concurrent requests in order."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any, TypeVar

from dropzone.errors import UnusableSample
from dropzone.submission.sample_bytes import SampleLike, encode_each

T = TypeVar("T")
R = TypeVar("R")

Batch = list[bytes] | UnusableSample
"""Samples that are sent in one request, or the error of one sample that cannot be sent."""

_MAX_BATCH_SAMPLES, _MAX_BATCH_BYTES = 100, 256 * 1024
_MAX_PENDING_BYTES = 64 * 2**20
_MAX_BATCH_SECONDS = 0.05


async def in_batches(
    samples: Iterable[SampleLike] | AsyncIterable[SampleLike | UnusableSample],
) -> AsyncGenerator[Batch, None]:
    """Yield consecutive samples that are available within 50 ms, so that no sample waits for a slow source.

    A batch with several samples contains lines of an NDJSON body: bytes without a line end. Its size is far below the
    limits of proxies. A sample that cannot be a line, or that is large, is a batch of its own. If the source raises an
    exception, it is raised after the last batch.
    """
    batch: list[bytes] = []
    started = 0.0
    failure: Exception | None = None
    async with aclosing(encode_each(samples)) as source:
        following = asyncio.ensure_future(anext(source))
        try:
            while True:
                if batch and await _is_due_after_wait(batch, started, following):
                    yield batch
                    batch = []
                try:
                    sample = await following
                except StopAsyncIteration:
                    break
                except Exception as error:  # noqa: BLE001 - raised after the samples before it
                    failure = error
                    break
                following = asyncio.ensure_future(anext(source))
                if batch and not _has_room(batch, sample):
                    yield batch
                    batch = []
                if isinstance(sample, UnusableSample) or not _is_line(sample):
                    yield sample if isinstance(sample, UnusableSample) else [sample]
                    continue
                if not batch:
                    started = time.monotonic()
                batch.append(sample)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
    if batch:
        yield batch
    if failure is not None:
        raise failure


async def _is_due_after_wait(
    batch: list[bytes], started: float, following: "asyncio.Future[bytes | UnusableSample]"
) -> bool:
    """Wait for the next sample if `batch` may wait. Return whether to send `batch` without this sample."""
    remaining = started + _MAX_BATCH_SECONDS - time.monotonic()
    await asyncio.sleep(0)  # starts the read of the next sample
    if remaining > 0 and len(batch) < _MAX_BATCH_SAMPLES:
        await asyncio.wait([following], timeout=remaining)
    return not following.done() or remaining <= 0


def size(batch: Batch) -> int:
    """Return the number of bytes of a batch."""
    return 0 if isinstance(batch, UnusableSample) else sum(map(len, batch))


def _has_room(batch: list[bytes], sample: bytes | UnusableSample) -> bool:
    if isinstance(sample, UnusableSample) or not _is_line(sample) or len(batch) == _MAX_BATCH_SAMPLES:
        return False
    return size(batch) + len(sample) <= _MAX_BATCH_BYTES


def _is_line(raw: bytes) -> bool:
    """Return whether the bytes of a sample can be a line of an NDJSON body with several lines."""
    return len(raw) < _MAX_BATCH_BYTES and b"\n" not in raw and not raw.isspace() and bool(raw)


async def map_in_order(
    items: AsyncIterable[T],
    send: Callable[[T], Awaitable[R]],
    size: Callable[[T], int],
    max_pending: int,
) -> AsyncGenerator[R, None]:
    """Call `send` for each item, with up to `max_pending` concurrent calls, and yield the results in order.

    A result is yielded as soon as it is available, without waiting for the next item. While the pending items have
    64 MiB or more, no call starts, so memory is limited. The first exception of `send` ends the iteration. An exception
    of the source is raised after the results of all items before it.
    """
    pending: deque[tuple[asyncio.Future[R], int]] = deque()
    pending_bytes = 0
    source = aiter(items)
    failure: Exception | None = None
    next_item: asyncio.Future[T] | None = asyncio.ensure_future(anext(source))
    try:
        while next_item is not None or pending:
            is_full = len(pending) >= max_pending or pending_bytes >= _MAX_PENDING_BYTES
            awaited: set[asyncio.Future[Any]] = {pending[0][0]} if pending else set()
            if next_item is not None and not is_full:
                awaited.add(next_item)
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            if next_item is not None and next_item in awaited and next_item.done():
                try:
                    item = next_item.result()
                except StopAsyncIteration:
                    next_item = None
                except Exception as error:  # noqa: BLE001 - raised after the results
                    next_item, failure = None, error
                else:
                    pending.append((asyncio.ensure_future(send(item)), size(item)))
                    pending_bytes += size(item)
                    next_item = asyncio.ensure_future(anext(source))
            while pending and pending[0][0].done():
                sent, sent_bytes = pending.popleft()
                pending_bytes -= sent_bytes
                yield sent.result()
    finally:
        unfinished = [call for call, _ in pending] + ([] if next_item is None else [next_item])
        for future in unfinished:
            future.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
    if failure is not None:
        raise failure
