"""The output stream of the supervisor. A separate thread writes it.

A reader can stop reading for a long time, for example a terminal after Ctrl-S, or `| less`. The supervisor must then
still restart and stop processes, and the processes must not block when they log. A limited number of lines waits for
the reader. Further lines are dropped, and the output says how many.
"""

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable

MAX_WAITING_BYTES = 1024 * 1024
MAX_BATCH_BYTES = 65_536
CLOSE_SECONDS = 0.5
RETRY_SECONDS = 0.02


class Output:
    """Writes lines to a file descriptor."""

    def __init__(self, descriptor: int) -> None:
        """Start the thread. `close` ends it."""
        self._descriptor = descriptor
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._dropped = 0
        self._is_closing = False
        self._is_lost = False
        self._on_lost: Callable[[], object] | None = None
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)
        self._thread.start()

    def when_lost(self, callback: Callable[[], object]) -> None:
        """Call `callback` when the reader of the output has closed it, as `| head` does. The thread calls it."""
        with self._changed:
            self._on_lost = callback
            is_lost = self._is_lost
        if is_lost:
            callback()

    def write(self, line: str) -> None:
        """Write a line, or drop it if too many bytes wait. Never blocks."""
        data = f"{line}\n".encode(errors="replace")
        with self._changed:
            if self._waiting_bytes + len(data) > MAX_WAITING_BYTES:
                self._dropped += 1
                return
            if self._dropped:
                data = f"{self._dropped} lines were dropped, because the output was read too slowly\n".encode() + data
                self._dropped = 0
            self._waiting.append(data)
            self._waiting_bytes += len(data)
            self._changed.notify()

    def close(self) -> None:
        """Wait for a short time until all lines are written."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        try:
            while batch := self._take():
                self._write(batch)
        except OSError:
            with self._changed:
                self._is_lost = True
                callback = self._on_lost
            if callback is not None:
                callback()
            while self._take():
                pass

    def _take(self) -> bytes:
        """Wait for lines and return the first lines. Returns no bytes at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closing)
            batch = bytearray()
            while self._waiting and len(batch) < MAX_BATCH_BYTES:
                batch += self._waiting.popleft()
            self._waiting_bytes -= len(batch)
            return bytes(batch)

    def _write(self, data: bytes) -> None:
        while data:
            with contextlib.suppress(BlockingIOError):  # another program has made the terminal non-blocking
                data = data[os.write(self._descriptor, data) :]
                continue
            time.sleep(RETRY_SECONDS)
