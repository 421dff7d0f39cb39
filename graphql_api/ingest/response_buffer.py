"""Response buffers: they hold the part of a response that the client has not read yet.

Many clients send their whole request body before they read the response. If the server waited until the client reads,
the server and the client would wait for each other. The server therefore writes a response to a buffer of limited size.

The buffers of a process also share a limit. A submitter may use as much of it as is left for others: the first one may
use half of it, the next one a quarter, and so on. Otherwise, clients of one submitter that do not read could stop the
streams of all others. If a submitter may use no more, each of its buffers can still hold 64 KiB.
"""

import asyncio
from collections import Counter

MAX_BYTES = 32 * 2**20  # one response; enough for 200,000 receipts of NDJSON lines
MAX_SHARED_BYTES = 128 * 2**20
_MIN_BYTES = 64 * 1024
_CHUNK_BYTES = 64 * 1024


class SharedLimit:
    """A limit on the total bytes in all response buffers of a process."""

    def __init__(self, max_bytes: int = MAX_SHARED_BYTES) -> None:
        self.remaining_bytes = max_bytes
        self._used_bytes = Counter[str]()

    def has_room(self, submitter: str) -> bool:
        """Return whether `submitter` may use more."""
        return self._used_bytes[submitter] < self.remaining_bytes

    def use(self, submitter: str, count: int) -> None:
        """Add `count` bytes to the bytes in the buffers of `submitter`. A negative number removes bytes."""
        self.remaining_bytes -= count
        self._used_bytes[submitter] += count
        if not self._used_bytes[submitter]:
            del self._used_bytes[submitter]


class ResponseBuffer:
    """A queue of bytes between one writer and one reader, for a response to `submitter`."""

    def __init__(self, shared_limit: SharedLimit, submitter: str, max_bytes: int = MAX_BYTES) -> None:
        self._shared_limit = shared_limit
        self._submitter = submitter
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._is_closed = False
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()

    async def write(self, chunk: bytes) -> None:
        """Append `chunk`. If the buffer is full, wait until it has space."""
        while len(self._buffer) >= (self._max_bytes if self._shared_limit.has_room(self._submitter) else _MIN_BYTES):
            self._writable.clear()
            await self._writable.wait()
        self._buffer += chunk
        self._shared_limit.use(self._submitter, len(chunk))
        self._readable.set()

    def close(self) -> None:
        """Mark the end of the response."""
        self._is_closed = True
        self._readable.set()

    async def read(self) -> bytes:
        """Wait for bytes and return up to 64 KiB of them; return `b""` at the end of the response."""
        while not self._buffer and not self._is_closed:
            self._readable.clear()
            await self._readable.wait()
        return self._remove(_CHUNK_BYTES)

    def discard(self) -> None:
        """Discard the unread bytes, so that other buffers can use the shared limit."""
        self._remove(len(self._buffer))

    def _remove(self, count: int) -> bytes:
        removed = bytes(self._buffer[:count])
        del self._buffer[:count]
        self._shared_limit.use(self._submitter, -len(removed))
        self._writable.set()
        return removed
