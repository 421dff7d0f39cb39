"""NDJSON of any length: split as it comes, so many lines under way at a time, answered in order.

Memory is flat however long the stream is: when enough is under way nothing more is read, and the
client's socket feels it. A line that is too long is passed over up to its end and harms no other.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from documents import TooLarge

_MOST_UNDER_WAY = 500
_MOST_BYTES_UNDER_WAY = 16 * 2**20

Answer = dict[str, Any]


Line = tuple[int, bytes | TooLarge]
"""The number of a line, counted from 1 with the blank ones, and the line without its end or what is wrong with it."""


async def split(body: AsyncIterator[bytes], longest: int) -> AsyncGenerator[Line, None]:
    """Yield each line of `body` that is not blank; `TooLarge` stands for one of more than `longest` bytes."""
    number = 1
    held = bytearray()  # the beginning of a line, or nothing more of one that is too long
    size = 0
    async for chunk in body:
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            size += len(end)
            if size > longest:
                yield number, _too_large(longest)
            elif (line := bytes(held) + end if held else end) and not line.isspace():
                yield number, line
            number += 1
            size = 0
            held.clear()
        size += len(rest)
        if size > longest:
            held.clear()
        else:
            held += rest
        await asyncio.sleep(0)  # a chunk of nothing but blank lines waits for nobody
    if size > longest:
        yield number, _too_large(longest)
    elif held and not held.isspace():
        yield number, bytes(held)


async def answers(
    lines: AsyncGenerator[Line, None], answer: Callable[[int, bytes | TooLarge], Awaitable[Answer]]
) -> AsyncGenerator[Answer, None]:
    """Yield `answer(number, line)` for each of `lines`, in their order.

    Up to `_MOST_UNDER_WAY` are under way at once. What `lines` raises is raised behind the last answer.
    """
    window = _Window()
    reading = asyncio.create_task(_read(lines, answer, window))
    try:
        while (task := await window.first()) is not None:
            yield await task
            window.release()
        await reading
    finally:
        reading.cancel()
        window.cancel()
        await asyncio.wait([reading])


async def _read(
    lines: AsyncGenerator[Line, None],
    answer: Callable[[int, bytes | TooLarge], Awaitable[Answer]],
    window: "_Window",
) -> None:
    try:
        async with aclosing(lines) as reading:
            async for number, line in reading:
                await window.room()
                window.add(0 if isinstance(line, TooLarge) else len(line), answer(number, line))
    finally:
        window.end()


class _Window:
    """The lines under way, first come first answered."""

    def __init__(self) -> None:
        self._sizes: deque[int] = deque()
        self._bytes = 0
        self._tasks: asyncio.Queue[asyncio.Future[Answer] | None] = asyncio.Queue()
        self._unfinished: set[asyncio.Future[Answer]] = set()
        self._released = asyncio.Event()

    async def room(self) -> None:
        while len(self._sizes) >= _MOST_UNDER_WAY or self._bytes >= _MOST_BYTES_UNDER_WAY:
            self._released.clear()
            await self._released.wait()

    def add(self, size: int, answer: Awaitable[Answer]) -> None:
        self._sizes.append(size)
        self._bytes += size
        task = asyncio.ensure_future(answer)
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        self._tasks.put_nowait(task)

    async def first(self) -> asyncio.Future[Answer] | None:
        return await self._tasks.get()

    def release(self) -> None:
        self._bytes -= self._sizes.popleft()
        self._released.set()

    def end(self) -> None:
        self._tasks.put_nowait(None)

    def cancel(self) -> None:
        for task in self._unfinished:
            task.cancel()


def _too_large(longest: int) -> TooLarge:
    return TooLarge(f"a sample may have up to {longest:,} bytes, this line has more")
