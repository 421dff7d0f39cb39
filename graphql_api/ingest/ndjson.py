"""NDJSON bodies of any length: lines are processed concurrently while the body arrives, with responses in order.

Lines that arrive together form a batch, because a batch costs little more than a single line.
Memory use does not depend on the length of the body: if too many lines or bytes are in flight, the
server stops reading, and the client has to wait. A line that is too long is skipped and reported.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Generic, TypeVar

from graphql_api.budgets.memory_budget import MemoryBudget
from storage.documents import TooLarge

_MAX_LINES_IN_FLIGHT = 500
_MAX_BYTES_IN_FLIGHT = 16 * 2**20
_MAX_BATCH_LINES = 100
_MAX_BATCH_BYTES = 256 * 1024

Line = tuple[int, bytes | TooLarge]
"""The number of a line, and its bytes without the newline, or an error. The first line is 1; blank lines count."""

T = TypeVar("T")


async def split(
    body: AsyncIterator[bytes], max_line_bytes: int, memory_budget: MemoryBudget
) -> AsyncGenerator[list[Line], None]:
    """Yield batches of the lines of `body`. Blank lines are skipped. `TooLarge` replaces a line that is too long.

    Reserves memory for the incomplete line from `memory_budget`. Raises `Unavailable` if the budget is exhausted.
    """
    number = 1
    incomplete = bytearray()  # stays empty while the rest of a line that is too long is skipped
    line_bytes = 0
    with memory_budget.reserve() as reservation:
        async for chunk in body:
            *ends, rest = chunk.split(b"\n")
            batch: list[Line] = []
            batch_bytes = 0
            for end in ends:
                line_bytes += len(end)
                if line_bytes > max_line_bytes:
                    batch.append((number, _too_large(max_line_bytes)))
                elif (line := bytes(incomplete) + end if incomplete else end) and not line.isspace():
                    batch.append((number, line))
                    batch_bytes += line_bytes
                number += 1
                line_bytes = 0
                incomplete.clear()
                if len(batch) == _MAX_BATCH_LINES or batch_bytes > _MAX_BATCH_BYTES:
                    yield batch
                    batch, batch_bytes = [], 0
            if batch:
                yield batch
            line_bytes += len(rest)
            if line_bytes > max_line_bytes:
                incomplete.clear()
            else:
                incomplete += rest
            reservation.resize(len(incomplete))
            await asyncio.sleep(0)  # other tasks must run even if a chunk of blank lines yields no batch
        if line_bytes > max_line_bytes:
            yield [(number, _too_large(max_line_bytes))]
        elif incomplete and not incomplete.isspace():
            yield [(number, bytes(incomplete))]


async def process(
    batches: AsyncGenerator[list[Line], None], process_batch: Callable[[Sequence[Line]], Awaitable[T]]
) -> AsyncGenerator[T, None]:
    """Yield `process_batch(batch)` for each of `batches`, in order. About 500 lines are in flight at once.

    If `batches` raises an exception, it is raised again after the last result.
    """
    window: _Window[T] = _Window()
    reader = asyncio.create_task(_read(batches, process_batch, window))
    try:
        while (task := await window.next_task()) is not None:
            yield await task
            window.release()
        await reader
    finally:
        reader.cancel()
        window.cancel()
        await asyncio.wait([reader])


async def _read(
    batches: AsyncGenerator[list[Line], None],
    process_batch: Callable[[Sequence[Line]], Awaitable[T]],
    window: "_Window[T]",
) -> None:
    try:
        async with aclosing(batches):
            async for batch in batches:
                await window.wait_for_space()
                window.add(batch, process_batch(batch))
    finally:
        window.close()


class _Window(Generic[T]):
    """The batches in flight, in order of arrival."""

    def __init__(self) -> None:
        self._sizes: deque[tuple[int, int]] = deque()
        self._lines = 0
        self._bytes = 0
        self._tasks: asyncio.Queue[asyncio.Future[T] | None] = asyncio.Queue()
        self._unfinished: set[asyncio.Future[T]] = set()
        self._released = asyncio.Event()

    async def wait_for_space(self) -> None:
        while self._lines >= _MAX_LINES_IN_FLIGHT or self._bytes >= _MAX_BYTES_IN_FLIGHT:
            self._released.clear()
            await self._released.wait()

    def add(self, batch: Sequence[Line], processing: Awaitable[T]) -> None:
        batch_bytes = sum(0 if isinstance(line, TooLarge) else len(line) for _, line in batch)
        self._sizes.append((len(batch), batch_bytes))
        self._lines += len(batch)
        self._bytes += batch_bytes
        task = asyncio.ensure_future(processing)
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        self._tasks.put_nowait(task)

    async def next_task(self) -> asyncio.Future[T] | None:
        """Return the task of the oldest batch, or None after `close`."""
        return await self._tasks.get()

    def release(self) -> None:
        """Free the space of the oldest batch."""
        lines, batch_bytes = self._sizes.popleft()
        self._lines -= lines
        self._bytes -= batch_bytes
        self._released.set()

    def close(self) -> None:
        self._tasks.put_nowait(None)

    def cancel(self) -> None:
        for task in self._unfinished:
            task.cancel()


def _too_large(max_line_bytes: int) -> TooLarge:
    return TooLarge(f"expected a line of at most {max_line_bytes:,} bytes, got a longer line")
