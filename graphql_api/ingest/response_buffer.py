"""Answers that a client has not read yet: many send their whole body before they read anything.

Were they held back at the first answer that nobody reads, both sides would wait for each other. So answers
are kept in memory up to a bound, and what comes behind it waits. A trap: clients together could
take all memory there is, so spools share some room, and each has little for itself when that is used up.
"""

import asyncio

MAX_BYTES = 32 * 2**20  # per client: over 200,000 answers to a line each
MAX_SHARED_BYTES = 128 * 2**20
_MIN_BYTES = 64 * 1024
_CUT_BYTES = 64 * 1024


class Room:
    """What the spools of a process may hold together."""

    def __init__(self, max_bytes: int = MAX_SHARED_BYTES) -> None:
        self.left = max_bytes


class Spool:
    """One who puts and one who takes; the bytes come out as they went in, cut elsewhere."""

    def __init__(self, room: Room, max_bytes: int = MAX_BYTES) -> None:
        self._room = room
        self._max_bytes = max_bytes
        self._held = bytearray()
        self._ended = False
        self._filled = asyncio.Event()
        self._taken = asyncio.Event()

    async def put(self, chunk: bytes) -> None:
        """Keep `chunk`, as soon as there is room."""
        while len(self._held) >= (self._max_bytes if self._room.left > 0 else _MIN_BYTES):
            self._taken.clear()
            await self._taken.wait()
        self._held += chunk
        self._room.left -= len(chunk)
        self._filled.set()

    def end(self) -> None:
        """Put nothing more."""
        self._ended = True
        self._filled.set()

    async def take(self) -> bytes:
        """Wait for more and return some of it; nothing at the end."""
        while not self._held and not self._ended:
            self._filled.clear()
            await self._filled.wait()
        return self._remove(_CUT_BYTES)

    def discard(self) -> None:
        """Give back the room of what was not taken."""
        self._remove(len(self._held))

    def _remove(self, count: int) -> bytes:
        cut = bytes(self._held[:count])
        del self._held[:count]
        self._room.left += len(cut)
        self._taken.set()
        return cut
