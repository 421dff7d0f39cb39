"""The output of all processes on one stream. Each line starts with the name of its process.

Lines are colored only on a terminal, and only if NO_COLOR is not set. A log file therefore contains plain text.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO

MAX_LINE_BYTES = 16_384  # longer lines are split to limit memory
COLORS = (36, 33, 35, 32, 34, 96, 93, 95)
RED = 31


class Logs:
    """Writes lines of named processes to a stream, with the names aligned."""

    def __init__(self, stream: TextIO, names: Iterable[str]) -> None:
        """Prepare to write to `stream`. `names` are the names of all processes."""
        self._stream = stream
        self._is_colored = stream.isatty() and not os.environ.get("NO_COLOR")
        self._colors = {name: COLORS[number % len(COLORS)] for number, name in enumerate(names)}
        self._width = max(map(len, self._colors), default=0)
        self.on_closed: Callable[[], None] = lambda: None
        """Called when the reader of the stream has closed it, as `| head` does."""

    def write(self, name: str, text: str) -> None:
        """Write a line of a process."""
        prefix = self._paint(f"{name:<{self._width}} |", self._colors[name])
        self.write_plain(f"{prefix} {text}")

    def write_error(self, name: str, text: str) -> None:
        """Write lines of a process in red."""
        for line in text.splitlines():
            self.write(name, self._paint(line, RED))

    def write_plain(self, text: str) -> None:
        """Write a line without a name."""
        try:
            self._stream.write(f"{text}\n")
            self._stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)  # so that the flush at exit does not fail
            os.dup2(null, self._stream.fileno())
            os.close(null)
            self.on_closed()

    def _paint(self, text: str, color: int) -> str:
        return f"\x1b[{color}m{text}\x1b[0m" if self._is_colored else text


class LineSplitter:
    """Splits a stream of bytes into lines of text."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Yield the lines that `chunk` completes. An empty chunk ends the stream and yields the rest."""
        *complete, self._rest = (self._rest + chunk).split(b"\n")
        for line in complete:
            yield self._decode(line)
        while len(self._rest) > MAX_LINE_BYTES or (self._rest and not chunk):
            line, self._rest = self._rest[:MAX_LINE_BYTES], self._rest[MAX_LINE_BYTES:]
            yield self._decode(line)

    @staticmethod
    def _decode(line: bytes) -> str:
        return line.rstrip(b"\r").decode(errors="replace")
