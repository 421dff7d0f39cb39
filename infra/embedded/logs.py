"""The output of all processes on one stream, as text or as JSON.

Each line of text starts with the name of its process. Each line of JSON has this name as a label. A line that a process
logs as JSON keeps its fields. Any other line becomes the message of an entry.

A process that fails in a loop writes the same lines again and again. Of equal lines, only the first few are written,
followed by one summary every ten seconds. Lines are equal if they differ only in their times.

Text is colored only on a terminal, and only if NO_COLOR is not set.
"""

import math
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

import orjson

from infra.embedded.output import Output
from observability.logs import LABELS, json_line

MAX_LINE_BYTES = 16_384  # longer lines are split to limit memory
COLORS = (36, 33, 35, 32, 34, 96, 93, 95)
RED = 31
MAX_EQUAL_LINES = 5
SUMMARY_SECONDS = 10.0
MAX_COUNTED_LINES = 1_000  # the number of different lines of one process that are counted at the same time

_time = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?")


class Style(Protocol):
    """The format of a line of output."""

    def line(self, name: str, text: str, *, repeated: int = 0, is_error: bool = False) -> str:
        """Return a line of the process `name`. `repeated` is the number of equal lines that were left out."""
        ...

    def plain(self, text: str) -> str | None:
        """Return a line that belongs to no process, or None to leave it out."""
        ...


class TextStyle:
    """Human-readable lines: the name of the process, in a color, and the text."""

    def __init__(self, names: Iterable[str], *, is_colored: bool) -> None:
        """Align the names of all processes."""
        self._is_colored = is_colored
        self._colors = {name: COLORS[number % len(COLORS)] for number, name in enumerate(names)}
        self._width = max(map(len, self._colors), default=0)

    def line(self, name: str, text: str, *, repeated: int = 0, is_error: bool = False) -> str:
        """Return the prefix and the text; an error is red."""
        if repeated:
            text = f"repeated {repeated} times: {text}"
        prefix = self._paint(f"{name:<{self._width}} |", self._colors[name])
        return f"{prefix} {self._paint(text, RED) if is_error else text}"

    def plain(self, text: str) -> str:
        """Return the text unchanged."""
        return text

    def _paint(self, text: str, color: int) -> str:
        return f"\x1b[{color}m{text}\x1b[0m" if self._is_colored else text


class JsonStyle:
    """Lines for programs, with the field names of Cloud Logging."""

    def line(self, name: str, text: str, *, repeated: int = 0, is_error: bool = False) -> str:
        """Return an entry with the fields that a process wrote, or with the text as its message."""
        entry = _fields(text) or _entry(text, is_error=is_error)
        entry[LABELS] = {"process": name}
        if repeated:
            entry["repeated"] = repeated
        return json_line(entry)

    def plain(self, text: str) -> str | None:
        """Return an entry of the stack with the text as its message, or None for an empty line."""
        return json_line(_entry(text) | {LABELS: {"process": "stack"}}) if text.strip() else None


def message_of(line: str) -> str:
    """Return the message of a line that a process has logged as JSON, or a line of text unchanged."""
    fields = _fields(line)
    return line if fields is None else str(fields["message"])


def _fields(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        fields: dict[str, Any] = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return fields if "message" in fields else None


def _entry(text: str, *, is_error: bool = False) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return {"severity": "ERROR" if is_error else "INFO", "message": text, "time": now}


class Logs:
    """Writes lines of named processes to an output."""

    def __init__(self, output: Output, names: Iterable[str], style: Style) -> None:
        """Prepare to write to `output`. `names` are the names of all processes."""
        self.output = output
        self._style = style
        self._repetitions = {name: Repetitions() for name in names}

    def write(self, name: str, text: str, *, is_error: bool = False) -> None:
        """Write a line of a process, unless it is one of many equal lines.

        With a line that starts with `error: `, a command says why it ends.
        """
        is_error = is_error or text.startswith("error: ")
        if self._repetitions[name].admit(text, time.monotonic(), is_error=is_error):
            self.output.write(self._style.line(name, text, is_error=is_error))

    def summarize_repeated(self, *, is_last: bool = False) -> None:
        """Write how often lines were repeated. Call this regularly, and once at the end with `is_last`."""
        now = math.inf if is_last else time.monotonic()
        for name, repetitions in self._repetitions.items():
            for repeated in repetitions.summarize(now):
                line = self._style.line(name, repeated.text, repeated=repeated.omitted, is_error=repeated.is_error)
                self.output.write(line)

    def write_error(self, name: str, text: str) -> None:
        """Write lines of a process as errors."""
        for line in text.splitlines():
            self.write(name, line, is_error=True)

    def write_plain(self, text: str) -> None:
        """Write a line without a name."""
        line = self._style.plain(text)
        if line is not None:
            self.output.write(line)


class RepeatedLine(NamedTuple):
    """The last of some equal lines that were not written, and their number."""

    text: str
    omitted: int
    is_error: bool


class Repetitions:
    """Counts equal lines of one process within periods of `SUMMARY_SECONDS`."""

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}

    def admit(self, line: str, now: float, *, is_error: bool = False) -> bool:
        """Count a line. Return whether to write it."""
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
        count.is_error = is_error
        count.omitted += 1
        return False

    def summarize(self, now: float) -> list[RepeatedLine]:
        """Return lines that were not written. Lines of earlier periods are forgotten."""
        ended = {key: count for key, count in self._counts.items() if now - count.started >= SUMMARY_SECONDS}
        for key, count in ended.items():
            if count.omitted:  # the line is still repeated, so the next period omits all of these lines
                self._counts[key] = _Count(now, lines=MAX_EQUAL_LINES)
            else:
                del self._counts[key]
        return [RepeatedLine(count.last, count.omitted, count.is_error) for count in ended.values() if count.omitted]


@dataclass(slots=True)
class _Count:
    """How often a line was written since `started`, and how often it was omitted."""

    started: float
    lines: int = 0
    omitted: int = 0
    last: str = ""
    is_error: bool = False


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
