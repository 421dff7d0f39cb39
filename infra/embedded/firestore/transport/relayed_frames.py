"""How many HTTP/2 frames the clients of a relay may send, and how many streams they may have open.

A frame costs CPU time even if no call comes of it: a client can open a stream and reset it, or send pings. All clients
together therefore have a budget for frames, and take turns if it is used up. A frame of a response that has data pays
for the frames of further calls, so that calls which succeed are not limited.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

from infra.embedded.firestore.transport.http2_frames import (
    CONTINUATION,
    DATA,
    END_STREAM,
    HEADERS,
    PREFACE_BYTES,
    RST_STREAM,
    Frame,
    FrameScanner,
)

UNITS_PER_SECOND = 5_000
MAX_SAVED_UNITS = 1_000
"""How many units the clients can save together, and how many units of its own a connection can save."""

UNITS_PER_RESPONSE = 20
"""What a connection gets for a frame of a response. The frames of a call with a small request cost 11 to 16."""

STREAM_UNITS = 10
CONNECTION_UNITS = 20
HEADER_BYTES_PER_UNIT = 128
"""A frame costs a unit. One that opens a stream, or has many headers, costs more."""

TURN_UNITS = 100
"""How much a connection sends before the next one takes its turn."""


class FrameBudget:
    """The units that all connections of a relay share. Connections that wait get them in the order of their arrival."""

    def __init__(self) -> None:
        self._turns = asyncio.Lock()
        self._units = float(MAX_SAVED_UNITS)
        self._updated_at = asyncio.get_running_loop().time()

    async def take(self, units: int) -> None:
        """Wait until the units that were taken before are paid, and take some more."""
        async with self._turns:
            self._refill()
            while self._units < 0:
                await asyncio.sleep(-self._units / UNITS_PER_SECOND)
                self._refill()
            self._units -= units

    def _refill(self) -> None:
        now = asyncio.get_running_loop().time()
        self._units = min(MAX_SAVED_UNITS, self._units + (now - self._updated_at) * UNITS_PER_SECOND)
        self._updated_at = now


class RelayedFrames:
    """The frames and open streams of one connection."""

    def __init__(self, budget: FrameBudget, on_open: Callable[[], None]) -> None:
        self.open_streams: set[int] = set()
        self._budget = budget
        self._on_open = on_open
        self._requests, self._responses = FrameScanner(PREFACE_BYTES), FrameScanner()
        self._newest_stream = 0
        self._units = 0

    async def admit(self, chunk: bytes) -> AsyncIterator[bytes]:
        """Yield a chunk of the client, in parts, when the budget allows it."""
        start = units = 0
        for frame in self._requests.frames(chunk):
            if units >= TURN_UNITS:
                await self._pay(units)
                yield chunk[start : frame.start]
                start, units = frame.start, 0
            units += self._note_request(frame)
        await self._pay(units)
        yield chunk[start:] if start else chunk

    async def _pay(self, units: int) -> None:
        own = min(units, self._units)
        self._units -= own
        if units > own:
            await self._budget.take(units - own)

    def _note_request(self, frame: Frame) -> int:
        """Return what a frame of the client costs."""
        if frame.kind == RST_STREAM:
            self.open_streams.discard(frame.stream)
        if frame.kind not in (HEADERS, CONTINUATION):
            return 1
        units = 1 + frame.payload_bytes // HEADER_BYTES_PER_UNIT
        if frame.kind == HEADERS and frame.stream > self._newest_stream:
            self._newest_stream = frame.stream
            self.open_streams.add(frame.stream)
            self._on_open()
            units += STREAM_UNITS
        return units

    def note_responses(self, chunk: bytes) -> None:
        """Note a chunk for the client: which streams end in it, and what the client may send for it."""
        for frame in self._responses.frames(chunk):
            if frame.kind == DATA and frame.payload_bytes:
                self._units = min(MAX_SAVED_UNITS, self._units + UNITS_PER_RESPONSE)
            if frame.kind == RST_STREAM or (frame.kind in (DATA, HEADERS) and frame.flags & END_STREAM):
                self.open_streams.discard(frame.stream)
