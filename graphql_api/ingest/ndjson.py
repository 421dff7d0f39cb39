"""NDJSON bodies of any length: lines are processed concurrently while the body arrives, with responses in order.

Lines that arrive together form a batch, because a batch costs little more than a single line. Memory use does not
depend on the length of the body. If too many lines or bytes are in flight, the server stops reading, and the client has
to wait. A line that is too long is skipped and reported.

90 KB of zstd can hold 500 million lines. The number of received bytes therefore limits the number of lines. After the
client has disconnected, the server processes at most the current batch.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from io import BytesIO
from typing import Generic, Protocol, TypeVar

from graphql_api.budgets.loop_turns import LoopTurn
from graphql_api.budgets.memory_budget import MIN_RESERVED_BYTES, Reservation
from storage.documents import RetryLater, TooLarge
from storage.documents.chunks import MAX_INLINE_BYTES

_MAX_LINES_IN_FLIGHT = 500
_MAX_BYTES_IN_FLIGHT = 16 * 2**20
_MAX_BATCH_LINES = 100
_MAX_BATCH_BYTES = 256 * 1024
_STEP_BYTES = 16 * 1024
_MIN_LINES = 100_000
"""Lines that any body may have, plus one line for each received byte. This limits only compressed bodies."""

Line = tuple[int, bytes | TooLarge]
"""The number of a line, and its bytes without the newline, or an error. The first line is 1; blank lines count."""

T = TypeVar("T")


class Body(Protocol):
    """A decoded body in pieces, and the number of bytes that the client has sent."""

    @property
    def received_bytes(self) -> int: ...

    def check_client(self) -> None: ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...


async def split(
    body: Body, max_line_bytes: int, reservation: Reservation, turn: LoopTurn
) -> AsyncGenerator[list[Line], None]:
    """Yield batches of the lines of `body`. Blank lines are skipped. `TooLarge` replaces a line that is too long.

    `reservation` holds the memory of the incomplete line. Raises `Unavailable` or `RateLimited` if a budget is
    exhausted, `TooLarge` if a compressed body has too many lines, and `ClientDisconnect` if the client has gone.
    """
    number = 1
    incomplete = _IncompleteLine(max_line_bytes, reservation)
    batch: list[Line] = []
    batch_bytes = 0
    try:
        async for chunk in body:
            for start in range(0, len(chunk), _STEP_BYTES):
                await turn.pause()
                body.check_client()
                *ends, rest = chunk[start : start + _STEP_BYTES].split(b"\n")
                for end in ends:
                    batch_bytes += incomplete.length + len(end)
                    line = incomplete.end(end) if incomplete.length or len(end) > max_line_bytes else end
                    if line and (isinstance(line, TooLarge) or not line.isspace()):
                        batch.append((number, line))
                    number += 1
                    if len(batch) == _MAX_BATCH_LINES or (batch and batch_bytes > _MAX_BATCH_BYTES):
                        yield batch
                        batch, batch_bytes = [], 0
                        body.check_client()
                if number > _MIN_LINES + body.received_bytes:
                    raise TooLarge(
                        f"expected at most {_MIN_LINES:,} lines in a compressed body, and one more for each of its "
                        "bytes, got more; send it in several requests"
                    )
                incomplete.append(rest)
            chunk = b""
            if batch:
                yield batch
            # Release the lines before the wait, because the client may send nothing for a long time.
            batch, batch_bytes, ends, end, line = [], 0, [], b"", b""
        if line := incomplete.end(b""):
            yield [(number, line)]
    finally:
        incomplete.clear()  # an error would hold this frame and the line in memory


class _IncompleteLine:
    """The start of a line whose end has not arrived."""

    def __init__(self, max_bytes: int, reservation: Reservation) -> None:
        self.length = 0
        self._max_bytes = max_bytes
        self._reservation = reservation
        self._content = BytesIO()  # returns its bytes without a copy
        self._is_blank = True

    def append(self, part: bytes) -> None:
        """Add `part`. A line that is too long is not held in memory."""
        self.length += len(part)
        if self.length > self._max_bytes:
            self._content = BytesIO()
            self._reservation.resize(0)
            return
        if self.length > MIN_RESERVED_BYTES:
            self._reservation.resize(self.length)
        self._content.write(part)
        self._is_blank = self._is_blank and (not part or part.isspace())

    def end(self, part: bytes) -> bytes | TooLarge:
        """Add `part` and return the whole line, or `TooLarge`. A blank line is returned empty."""
        self.append(part)
        line = _too_large(self._max_bytes) if self.length > self._max_bytes else self._content.getvalue()
        is_blank = self._is_blank
        self.clear()
        return b"" if is_blank and isinstance(line, bytes) else line

    def clear(self) -> None:
        """Start the next line."""
        self.length = 0
        self._content = BytesIO()
        self._is_blank = True
        self._reservation.resize(0)


def count_lines_and_bytes(batch: Sequence[Line]) -> tuple[int, int]:
    """Return the number of lines, and the number of their bytes."""
    return len(batch), sum(map(_length, batch))


async def process(
    batches: AsyncGenerator[list[Line], None],
    process_batch: Callable[[Sequence[Line]], Awaitable[T]],
    reservation: Reservation,
) -> AsyncGenerator[T, None]:
    """Yield `process_batch(batch)` for each of `batches`, in order. About 500 lines are in flight at once.

    `reservation` holds the memory of the lines in flight. If it cannot grow, the next lines wait.

    If `batches` raises an exception, it is raised again after the last result.
    """
    window: _Window[T] = _Window(reservation)
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
        del reader  # its error refers to this frame


async def _read(
    batches: AsyncGenerator[list[Line], None],
    process_batch: Callable[[Sequence[Line]], Awaitable[T]],
    window: "_Window[T]",
) -> None:
    try:
        async with aclosing(batches):
            async for batch in batches:
                await window.wait_for_space(batch)
                window.add(batch, process_batch(batch))
                del batch  # do not keep the batch in memory while the client sends nothing
    finally:
        window.close()


class _Window(Generic[T]):
    """The batches in flight, in order of arrival."""

    def __init__(self, reservation: Reservation) -> None:
        self._reservation = reservation
        self._sizes: deque[tuple[int, int, int]] = deque()
        self._lines = 0
        self._bytes = 0
        self._reserved_bytes = 0
        self._tasks: asyncio.Queue[asyncio.Future[T] | None] = asyncio.Queue()
        self._unfinished: set[asyncio.Future[T]] = set()
        self._released = asyncio.Event()

    async def wait_for_space(self, batch: Sequence[Line]) -> None:
        """Wait until `batch` may be added. Raises `RetryLater` if nothing is in flight and memory is short."""
        while not self._try_to_reserve(batch):
            self._released.clear()
            await self._released.wait()

    def add(self, batch: Sequence[Line], processing: Awaitable[T]) -> None:
        lines, batch_bytes = count_lines_and_bytes(batch)
        self._sizes.append((lines, batch_bytes, _bytes_to_reserve(batch)))
        self._lines += lines
        self._bytes += batch_bytes
        self._reserved_bytes += _bytes_to_reserve(batch)
        task = asyncio.ensure_future(processing)
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        self._tasks.put_nowait(task)

    def _try_to_reserve(self, batch: Sequence[Line]) -> bool:
        """Reserve memory for `batch` if it may be added. Return whether it may."""
        if self._lines >= _MAX_LINES_IN_FLIGHT or self._bytes >= _MAX_BYTES_IN_FLIGHT:
            return False
        try:
            self._reserve(self._reserved_bytes + _bytes_to_reserve(batch))
        except RetryLater:
            if not self._lines:
                raise
            return False
        return True

    def _reserve(self, size: int) -> None:
        self._reservation.resize(size if size > MIN_RESERVED_BYTES else 0)

    async def next_task(self) -> asyncio.Future[T] | None:
        """Return the task of the oldest batch, or None after `close`."""
        return await self._tasks.get()

    def release(self) -> None:
        """Free the space of the oldest batch."""
        lines, batch_bytes, reserved_bytes = self._sizes.popleft()
        self._lines -= lines
        self._bytes -= batch_bytes
        self._reserved_bytes -= reserved_bytes
        self._reserve(self._reserved_bytes)
        self._released.set()

    def close(self) -> None:
        self._tasks.put_nowait(None)

    def cancel(self) -> None:
        for task in self._unfinished:
            task.cancel()


def _length(line: Line) -> int:
    return 0 if isinstance(line[1], TooLarge) else len(line[1])


def _bytes_to_reserve(batch: Sequence[Line]) -> int:
    """Return the bytes of the small lines. The receiver reserves memory for each large line."""
    return sum(length for length in map(_length, batch) if length <= MAX_INLINE_BYTES)


def _too_large(max_line_bytes: int) -> TooLarge:
    return TooLarge(f"expected a line of at most {max_line_bytes:,} bytes, got a longer line")
