"""The output stream of the supervisor. A separate thread writes it.

A reader can stop reading for a long time, for example a terminal after Ctrl-S, or `| less`. The supervisor must then
still restart and stop processes, and the processes must not block when they log. A limited number of lines waits for
the reader. Further lines are dropped, and the output says how many.

If the output is a file and its disk is full, lines are dropped too: a full disk must not stop the processes.
"""

import errno
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable

MAX_WAITING_BYTES = 1024 * 1024
MAX_BATCH_BYTES = 65_536
CLOSE_SECONDS = 0.5
RETRY_SECONDS = 0.02
CLOSED = (errno.EPIPE, errno.EIO)
"""The errors of a pipe or a terminal whose other end is closed."""


class Output:
    """Writes lines to a file descriptor."""

    def __init__(self, descriptor: int, notice: Callable[[str], str]) -> None:
        """Start the thread. `close` ends it. `notice` formats the line that says how many lines were dropped."""
        self._descriptor = descriptor
        self._notice = notice
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._dropped = 0
        self._refused, self._refusal = 0, ""
        self._is_cut = False
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
                notice = self._notice(f"{self._dropped} lines were dropped, because the output was read too slowly")
                data = f"{notice}\n".encode() + data
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

    def _write(self, lines: bytes) -> None:
        """Write lines, or drop lines that a full disk refuses. Raises `OSError` if the output is closed."""
        whole = data = lines
        if self._refused:
            reason = f"because the output could not be written: {self._refusal}"
            notice = self._notice(f"{self._refused} lines were dropped, {reason}")
            start = "\n" if self._is_cut else ""  # a disk can become full within a line
            whole = data = f"{start}{notice}\n".encode() + lines
        try:
            while data:
                data = data[self._write_some(data) :]
            self._refused, self._is_cut = 0, False
        except OSError as error:
            if error.errno in CLOSED and not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                raise
            if written := whole[: len(whole) - len(data)]:
                self._is_cut = not written.endswith(b"\n")
            is_notice_written = len(data) <= len(lines)
            self._refused = data[-len(lines) :].count(b"\n") + (0 if is_notice_written else self._refused)
            self._refusal = str(error)

    def _write_some(self, data: bytes) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:  # another program has made the terminal non-blocking
            time.sleep(RETRY_SECONDS)
            return 0
