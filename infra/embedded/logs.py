"""What all processes print, on one stream: a line at a time, each with the name of its process before it.

Colour is for terminals alone (and not where NO_COLOR is set), so that a log file holds plain text.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO

MAX_LINE_LENGTH = 16_384  # bytes; what is longer comes as several lines, so that memory stays bounded
COLOURS = (36, 33, 35, 32, 34, 96, 93, 95)
RED = 31


class Logs:
    """Write lines of named processes to a stream, their names aligned."""

    def __init__(self, stream: TextIO, names: Iterable[str]) -> None:
        """Only these names may be used."""
        self._stream = stream
        self._coloured = stream.isatty() and not os.environ.get("NO_COLOR")
        self._colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
        self._width = max(map(len, self._colours), default=0)
        self.when_lost: Callable[[], None] = lambda: None  # whoever read us is gone, as with `| head`

    def line(self, name: str, text: str) -> None:
        """Write one line of a process."""
        prefix = self._paint(f"{name:<{self._width}} |", self._colours[name])
        self.plain(f"{prefix} {text}")

    def problem(self, name: str, text: str) -> None:
        """Write lines that must not be overlooked."""
        for line in text.splitlines():
            self.line(name, self._paint(line, RED))

    def plain(self, text: str) -> None:
        """Write a line without a name before it."""
        try:
            self._stream.write(f"{text}\n")
            self._stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)  # what is still in the buffer must go somewhere
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            self.when_lost()

    def _paint(self, text: str, colour: int) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._coloured else text


class Lines:
    """Cut a stream of bytes into lines of text."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Yield the lines that are complete; an empty chunk is the end and yields what is left."""
        *complete, self._rest = (self._rest + chunk).split(b"\n")
        for line in complete:
            yield self._text(line)
        while len(self._rest) > MAX_LINE_LENGTH or (self._rest and not chunk):
            line, self._rest = self._rest[:MAX_LINE_LENGTH], self._rest[MAX_LINE_LENGTH:]
            yield self._text(line)

    @staticmethod
    def _text(line: bytes) -> str:
        return line.rstrip(b"\r").decode(errors="replace")
