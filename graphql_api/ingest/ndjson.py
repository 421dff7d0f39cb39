"""NDJSON of any length: split as it comes, so many lines under way at a time, answered in order.

What comes in one piece goes on in one batch, since most of what a line costs is done once for all of them.
Memory is flat however long the stream is: when enough is under way nothing more is read, and the
client's socket feels it. A line that is too long is passed over up to its end and harms no other.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Generic, TypeVar

from graphql_api.graphql_server.memory_budget import MemoryBudget
from storage.documents import TooLarge

_MAX_IN_FLIGHT = 500
_MAX_BYTES_IN_FLIGHT = 16 * 2**20
_MAX_BATCH_LINES = 100
_MAX_BATCH_BYTES = 256 * 1024

Line = tuple[int, bytes | TooLarge]
"""The number of a line, counted from 1 with the blank ones, and the line without its end or what is wrong with it."""

T = TypeVar("T")


async def split(
    body: AsyncIterator[bytes], longest: int, memory_budget: MemoryBudget
) -> AsyncGenerator[list[Line], None]:
    """Yield the lines of `body` that are not blank, in batches; `TooLarge` stands for a line of more than `longest`.

    Reserves the start of an unfinished line from `memory_budget`. Raises `Unavailable` if the budget is exhausted.
    """
    number = 1
    held = bytearray()  # the beginning of a line, or nothing more of one that is too long
    size = 0
    with memory_budget.reserve() as reservation:
        async for chunk in body:
            *ends, rest = chunk.split(b"\n")
            batch: list[Line] = []
            batched = 0
            for end in ends:
                size += len(end)
                if size > longest:
                    batch.append((number, _too_large(longest)))
                elif (line := bytes(held) + end if held else end) and not line.isspace():
                    batch.append((number, line))
                    batched += size
                number += 1
                size = 0
                held.clear()
                if len(batch) == _MAX_BATCH_LINES or batched > _MAX_BATCH_BYTES:
                    yield batch
                    batch, batched = [], 0
            if batch:
                yield batch
            size += len(rest)
            if size > longest:
                held.clear()
            else:
                held += rest
            reservation.resize(len(held))
            await asyncio.sleep(0)  # a chunk of nothing but blank lines waits for nobody
        if size > longest:
            yield [(number, _too_large(longest))]
        elif held and not held.isspace():
            yield [(number, bytes(held))]


async def answers(
    batches: AsyncGenerator[list[Line], None], answer: Callable[[Sequence[Line]], Awaitable[T]]
) -> AsyncGenerator[T, None]:
    """Yield `answer(lines)` for each of `batches`, in their order.

    Up to about `_MAX_IN_FLIGHT` lines are under way at once. What `batches` raises is raised behind the last answer.
    """
    window: _Window[T] = _Window()
    reading = asyncio.create_task(_read(batches, answer, window))
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
    batches: AsyncGenerator[list[Line], None],
    answer: Callable[[Sequence[Line]], Awaitable[T]],
    window: "_Window[T]",
) -> None:
    try:
        async with aclosing(batches) as reading:
            async for batch in reading:
                await window.room()
                window.add(batch, answer(batch))
    finally:
        window.end()


class _Window(Generic[T]):
    """The batches under way, first come first answered."""

    def __init__(self) -> None:
        self._sizes: deque[tuple[int, int]] = deque()
        self._lines = 0
        self._bytes = 0
        self._tasks: asyncio.Queue[asyncio.Future[T] | None] = asyncio.Queue()
        self._unfinished: set[asyncio.Future[T]] = set()
        self._released = asyncio.Event()

    async def room(self) -> None:
        while self._lines >= _MAX_IN_FLIGHT or self._bytes >= _MAX_BYTES_IN_FLIGHT:
            self._released.clear()
            await self._released.wait()

    def add(self, batch: Sequence[Line], answer: Awaitable[T]) -> None:
        size = sum(0 if isinstance(line, TooLarge) else len(line) for _, line in batch)
        self._sizes.append((len(batch), size))
        self._lines += len(batch)
        self._bytes += size
        task = asyncio.ensure_future(answer)
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        self._tasks.put_nowait(task)

    async def first(self) -> asyncio.Future[T] | None:
        return await self._tasks.get()

    def release(self) -> None:
        lines, size = self._sizes.popleft()
        self._lines -= lines
        self._bytes -= size
        self._released.set()

    def end(self) -> None:
        self._tasks.put_nowait(None)

    def cancel(self) -> None:
        for task in self._unfinished:
            task.cancel()


def _too_large(longest: int) -> TooLarge:
    return TooLarge(f"a sample may have up to {longest:,} bytes, this line has more")
