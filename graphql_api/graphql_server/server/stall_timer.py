"""Detects a client that reads almost none of the data that the server writes to it.

The time in which the server still receives a request body does not count, because many clients send the whole body
before they read the response.
"""

import asyncio
from collections.abc import Callable


class StallTimer:
    """Calls `on_stall` if a client reads less than `min_bytes_per_second` on average over `seconds`.

    The connection starts the timer when the write buffer is full, and stops the timer when the buffer has drained.
    `received_bytes` returns how many bytes of request bodies the client has sent so far.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        on_stall: Callable[[], None],
        *,
        seconds: float,
        min_bytes_per_second: float,
        received_bytes: Callable[[], int] = int,
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._on_stall = on_stall
        self._seconds = seconds
        self._min_bytes = seconds * min_bytes_per_second
        self._timer: asyncio.TimerHandle | None = None
        self._received_bytes = received_bytes
        self._buffered = 0
        self._received = 0

    def start(self) -> None:
        """Start to measure for `seconds`."""
        self._buffered = self._transport.get_write_buffer_size()
        self._received = self._received_bytes()
        self._timer = self._loop.call_later(self._seconds, self._check)

    def stop(self) -> None:
        """Stop measuring."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Stop measuring, and drop all references. Without this call, each connection is a reference cycle."""
        self.stop()
        del self._on_stall, self._received_bytes, self._transport

    def _check(self) -> None:
        read = self._buffered - self._transport.get_write_buffer_size()
        received = self._received_bytes() - self._received
        if max(read, received) > self._min_bytes:
            self.start()
        else:
            self._timer = None
            self._on_stall()
