"""Whether a client takes what was written for it, or next to nothing for some time.

The trap: time in which we still take a body from it does not count, for many clients send all of it before they read.
"""

import asyncio
from collections.abc import Callable


class StallTimer:
    """Calls `stalled` when the client takes less than `least` bytes a second for so many `seconds`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        stalled: Callable[[], None],
        *,
        seconds: float,
        least: float,
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._seconds = seconds
        self._least = seconds * least
        self._stalled = stalled
        self._timer: asyncio.TimerHandle | None = None
        self._left = 0
        self._received = 0

    def start(self) -> None:
        """Look from now on: there is more to take than the client takes."""
        self._left = self._transport.get_write_buffer_size()
        self._received = 0
        self._timer = self._loop.call_later(self._seconds, self._check)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def received(self, count: int) -> None:
        """Count what the client sends."""
        self._received += count

    def _check(self) -> None:
        taken = self._left - self._transport.get_write_buffer_size()
        if max(taken, self._received) > self._least:
            self.start()
        else:
            self._timer = None
            self._stalled()
