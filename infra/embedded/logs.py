"""The output of all processes on one stream. Each line starts with the name of its process.

A process that fails in a loop writes the same lines again and again. Of equal lines, the first few are written, and
then one summary every ten seconds. Lines are equal if they differ only in their times.

Lines are colored only on a terminal, and only if NO_COLOR is not set. A log file therefore contains plain text.
"""

import math
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from infra.embedded.output import Output

MAX_LINE_BYTES = 16_384  # longer lines are split to limit memory
COLORS = (36, 33, 35, 32, 34, 96, 93, 95)
RED = 31
MAX_EQUAL_LINES = 5
SUMMARY_SECONDS = 10.0
MAX_COUNTED_LINES = 1_000  # different lines of one process whose repetitions are counted at the same time

_time = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?")


class Logs:
    """Writes lines of named processes to an output, with the names aligned."""

    def __init__(self, output: Output, names: Iterable[str], *, is_colored: bool) -> None:
        """Prepare to write to `output`. `names` are the names of all processes."""
        self.output = output
        self._is_colored = is_colored
        self._colors = {name: COLORS[number % len(COLORS)] for number, name in enumerate(names)}
        self._width = max(map(len, self._colors), default=0)
        self._repetitions = {name: Repetitions() for name in self._colors}

    def write(self, name: str, text: str) -> None:
        """Write a line of a process, unless it is one of many equal lines."""
        if self._repetitions[name].admit(text, time.monotonic()):
            self._write(name, text)

    def summarize_repeated(self, *, is_last: bool = False) -> None:
        """Write how often lines were repeated. Call this regularly, and at the end with `is_last`."""
        now = math.inf if is_last else time.monotonic()
        for name, repetitions in self._repetitions.items():
            for text, count in repetitions.summarize(now):
                self._write(name, f"repeated {count} times: {text}")

    def write_error(self, name: str, text: str) -> None:
        """Write lines of a process in red."""
        for line in text.splitlines():
            self.write(name, self._paint(line, RED))

    def _write(self, name: str, text: str) -> None:
        prefix = self._paint(f"{name:<{self._width}} |", self._colors[name])
        self.write_plain(f"{prefix} {text}")

    def write_plain(self, text: str) -> None:
        """Write a line without a name."""
        self.output.write(text)

    def _paint(self, text: str, color: int) -> str:
        return f"\x1b[{color}m{text}\x1b[0m" if self._is_colored else text


class Repetitions:
    """Counts equal lines of one process within periods of `SUMMARY_SECONDS`."""

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}

    def admit(self, line: str, now: float) -> bool:
        """Count a line; return whether to write it."""
        key = _time.sub("", line)
        count = self._counts.get(key)
        if count is None:
            if len(self._counts) == MAX_COUNTED_LINES:
                return True
            count = self._counts[key] = _Count(now)
        count.lines += 1
        if count.lines <= MAX_EQUAL_LINES:
            return True
        count.last = line
        count.omitted += 1
        return False

    def summarize(self, now: float) -> list[tuple[str, int]]:
        """Return lines that were not written, with their number. Lines of earlier periods are forgotten."""
        ended = {key: count for key, count in self._counts.items() if now - count.started >= SUMMARY_SECONDS}
        for key, count in ended.items():
            if count.omitted:  # the line is still repeated, so the next period omits it from its first line
                self._counts[key] = _Count(now, lines=MAX_EQUAL_LINES)
            else:
                del self._counts[key]
        return [(count.last, count.omitted) for count in ended.values() if count.omitted]


@dataclass(slots=True)
class _Count:
    """How often a line was written since `started`, and how often it was omitted."""

    started: float
    lines: int = 0
    omitted: int = 0
    last: str = ""


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
