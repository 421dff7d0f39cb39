"""Many samples on their way at once, answered in their order.

A sample is sent with a key of its own, made of its content: sent again, after a broken connection or by another run, it
is stored once. The trap: a sample that already has a member `idempotency_key` keeps that one, for the key of a
request goes before the member.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from hashlib import sha256
from typing import Any, TypeVar

from dropzone.errors import UnusableSample

T = TypeVar("T")
R = TypeVar("R")

SampleLike = bytes | str | Mapping[str, Any]
"""A JSON text, or what becomes one."""

_MAX_BYTES = 64 * 2**20
_OWN_KEY = b'"idempotency_key"'


def encode(sample: SampleLike) -> bytes:
    """Return the bytes that are sent. Raises `UnusableSample` where there are none."""
    if isinstance(sample, bytes):
        return sample
    try:
        text = sample if isinstance(sample, str) else json.dumps(sample, separators=(",", ":"), ensure_ascii=False)
        return text.encode()
    except (TypeError, ValueError) as error:  # not JSON, or a lone surrogate
        raise UnusableSample(f"expected a JSON text, or an object that JSON can express: {error}") from error


def content_key(raw: bytes) -> str | None:
    """Return the idempotency key of a sample by its content, None where it has one of its own."""
    if _OWN_KEY in raw:
        try:
            given = json.loads(raw)
        except ValueError:
            given = None
        if isinstance(given, dict) and isinstance(own := given.get("idempotency_key"), str) and own:
            return None
    return f"sha256:{sha256(raw).hexdigest()}"


async def in_order(
    items: Iterable[T] | AsyncIterable[T],
    send: Callable[[T], Awaitable[R]],
    size: Callable[[T], int],
    most: int,
) -> AsyncGenerator[R, None]:
    """Yield what `send` returns for each of `items`, in their order, with up to `most` under way.

    What is known is yielded before the next item is there: items may come slowly. Once `_MAX_BYTES` are under way
    nothing more is begun, so memory is flat. What `send` raises ends all.
    """
    under_way: deque[tuple[asyncio.Future[R], int]] = deque()
    held = 0
    async with aclosing(_each(items)) as source:
        coming: asyncio.Future[T] | None = asyncio.ensure_future(anext(source))
        try:
            while coming is not None or under_way:
                full = len(under_way) >= most or held >= _MAX_BYTES
                waiting: set[asyncio.Future[Any]] = {under_way[0][0]} if under_way else set()
                if coming is not None and not full:
                    waiting.add(coming)
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if coming in waiting and coming is not None and coming.done():
                    try:
                        item = coming.result()
                    except StopAsyncIteration:
                        coming = None
                    else:
                        under_way.append((asyncio.ensure_future(send(item)), size(item)))
                        held += size(item)
                        coming = asyncio.ensure_future(anext(source))
                while under_way and under_way[0][0].done():
                    answered, bytes_sent = under_way.popleft()
                    held -= bytes_sent
                    yield answered.result()
        finally:
            unfinished = [answer for answer, _ in under_way] + ([] if coming is None else [coming])
            for future in unfinished:
                future.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)


async def _each(items: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T, None]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
