"""The log of a process: one line per event, as text or as JSON. Every process calls `configure` once.

JSON lines have the field names that Cloud Logging reads: `severity`, `message`, `time`, `httpRequest`, and the trace.
Other programs can read them too. Modules log with the standard library, which also formats the lines.

A text from a client can contain line breaks and terminal sequences. Control characters are therefore replaced by
spaces. Only the traceback of an exception keeps its line breaks.

The access log has one line per request. Per second, it has at most `MAX_ACCESS_LINES_PER_SECOND` lines about responses
with the status 5xx, and the same number of other lines. The next line then says how many lines were omitted. Metrics
count all requests. A line contains the route and not the path, because a query string can contain a key or data.
"""

import logging
import os
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic
from types import TracebackType
from typing import Any, TextIO

import orjson

from observability import request_context

FORMATS = ("text", "json")
LABELS = "logging.googleapis.com/labels"
MAX_TRACEBACK_CHARACTERS = 8_000
MAX_ACCESS_LINES_PER_SECOND = 100
"""The limit of each kind of line. Measured: 100 lines a second use less than 1 % of a processor core."""

_SERVER_ERROR = 500
_TRACE = "logging.googleapis.com/trace"
_SPAN_ID = "logging.googleapis.com/spanId"
_TRACE_SAMPLED = "logging.googleapis.com/trace_sampled"
_CONTROL_CHARACTERS = dict.fromkeys((*range(32), *range(127, 160), 0x2028, 0x2029), " ")
_IN_TRACEBACKS = {code: text for code, text in _CONTROL_CHARACTERS.items() if code != ord("\n")}

_STANDARD_ATTRIBUTES = {*vars(logging.makeLogRecord({})), "message", "asctime"}
"""The standard attributes of a record. All other attributes are named values. Other formatters add the last two."""

_Entry = dict[str, Any]
logger = logging.getLogger("process")
_access = logging.getLogger("access")


def configure(log_format: str = "", stream: TextIO | None = None) -> None:
    """Write the log of this process to `stream`, by default standard error, as `text` or `json`.

    Without a format, the log is text on a terminal and JSON otherwise. Unhandled exceptions and warnings of Python are
    logged too.
    """
    stream = stream or sys.stderr
    handler = _Handler(stream)
    is_json = (log_format or default_format(stream)) == "json"
    handler.setFormatter(_JsonFormatter() if is_json else _TextFormatter())
    root = logging.getLogger()
    for other in root.handlers[:]:
        if isinstance(other, _Handler):
            root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    sys.excepthook = _log_unhandled
    threading.excepthook = _log_unhandled_in_thread


def default_format(stream: TextIO) -> str:
    """Return `text` for a terminal, and otherwise `json`."""
    return "text" if stream.isatty() else "json"


def check_format(log_format: str) -> None:
    """Raise `ValueError` unless `log_format` is a format or empty."""
    if log_format not in ("", *FORMATS):
        raise ValueError(f"the log format must be text or json, got {log_format!r}")


def json_line(entry: _Entry) -> str:
    """Return an entry as one line of JSON. Values that JSON cannot represent are written as text."""
    return orjson.dumps(entry, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class AccessLog:
    """Writes lines about requests. `clock` returns monotonic time in seconds."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._succeeded, self._failed = _Rate(clock), _Rate(clock)

    def write(
        self,
        *,
        method: str,
        route: str,
        status: int,
        seconds: float,
        request_bytes: int,
        response_bytes: int,
        address: str,
    ) -> None:
        """Write a line about the current request, which has ended, unless this second already has too many lines."""
        is_failure = status >= _SERVER_ERROR
        omitted = (self._failed if is_failure else self._succeeded).admit()
        if omitted is None:
            return
        extra: dict[str, object] = {
            "httpRequest": {
                "requestMethod": method,
                "requestUrl": route,
                "requestSize": str(request_bytes),
                "status": status,
                "responseSize": str(response_bytes),
                "remoteIp": address,
                "latency": f"{seconds:.6f}s",
            },
        }
        if omitted:
            extra["omitted"] = omitted
        _access.log(
            logging.WARNING if is_failure else logging.INFO,
            "%s %s %d, %.1f ms, %d bytes in, %d bytes out",
            method,
            route,
            status,
            seconds * 1000,
            request_bytes,
            response_bytes,
            extra=extra,
        )


class _Rate:
    """Admits `MAX_ACCESS_LINES_PER_SECOND` lines in each second."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._second = -1
        self._lines = 0
        self._omitted = 0

    def admit(self) -> int | None:
        """Return how many lines were omitted before this line, or None if this line is omitted."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._lines = second, 0
        if self._lines >= MAX_ACCESS_LINES_PER_SECOND:
            self._omitted += 1
            return None
        self._lines += 1
        omitted, self._omitted = self._omitted, 0
        return omitted


class _Handler(logging.StreamHandler[TextIO]):
    """The handler of this module. With its own class, a second call of `configure` can find and replace it."""


class _Formatter(logging.Formatter, ABC):
    """Formats a record as an entry of named values, which subclasses render."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of `record`, and in the text format its traceback."""
        entry: _Entry = {"event": record.getMessage(), "level": record.levelname, "logger": record.name}
        entry |= {key: value for key, value in vars(record).items() if key not in _STANDARD_ATTRIBUTES}
        _add_request(entry)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        _clean(entry)
        return self.render(entry, datetime.fromtimestamp(record.created, UTC))

    @abstractmethod
    def render(self, entry: _Entry, time: datetime) -> str:
        """Return the text of an entry."""


class _JsonFormatter(_Formatter):
    """Names the values as Cloud Logging does."""

    def render(self, entry: _Entry, time: datetime) -> str:
        """Return one line of JSON."""
        named: _Entry = {
            "severity": entry.pop("level"),
            "message": entry.pop("event"),
            "time": time.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        }
        if (trace := entry.pop("exception", None)) is not None:
            named["stack_trace"] = trace
        return json_line(named | entry)


class _TextFormatter(_Formatter):
    """Leaves out the names for Cloud Logging, and values that the message of an access log line already contains."""

    def render(self, entry: _Entry, time: datetime) -> str:
        """Return the line, and the traceback on further lines."""
        for name in ("httpRequest", _SPAN_ID, _TRACE_SAMPLED):
            entry.pop(name, None)
        if trace := entry.pop(_TRACE, None):
            entry["trace"] = trace.rpartition("/")[2]
        exception = entry.pop("exception", None)
        columns = [f"{time.astimezone():%Y-%m-%d %H:%M:%S}", *(entry.pop(key) for key in ("logger", "level", "event"))]
        columns += [f"{key}={entry[key]}" for key in sorted(entry)]
        line = " ".join(columns).rstrip()
        return line if exception is None else f"{line}\n{exception}"


def _add_request(entry: _Entry) -> None:
    """Add the request that the current task serves."""
    context = request_context.current()
    if context is not None:
        entry["request_id"] = context.request_id
        if context.submitter:
            entry["submitter"] = context.submitter
        if context.trace_id:
            project = os.environ.get("GOOGLE_CLOUD_PROJECT", "local")
            entry[_TRACE] = f"projects/{project}/traces/{context.trace_id}"
            entry[_SPAN_ID] = context.span_id
            entry[_TRACE_SAMPLED] = context.is_sampled


def _clean(entry: _Entry) -> None:
    """Replace control characters, and shorten a long traceback."""
    for key, value in entry.items():
        if isinstance(value, str):
            entry[key] = value.translate(_IN_TRACEBACKS if key == "exception" else _CONTROL_CHARACTERS)
    trace = entry.get("exception")
    if trace and len(trace) > MAX_TRACEBACK_CHARACTERS:
        half = MAX_TRACEBACK_CHARACTERS // 2
        entry["exception"] = f"{trace[:half]} (cut) {trace[-half:]}"


def _log_unhandled(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logger.critical("the process stops because of an unhandled exception: %r", error, exc_info=(kind, error, trace))


def _log_unhandled_in_thread(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is not None:
        name = "" if arguments.thread is None else arguments.thread.name
        logger.error(
            "the thread %s stopped because of an unhandled exception: %r",
            name,
            arguments.exc_value,
            exc_info=(arguments.exc_type, arguments.exc_value, arguments.exc_traceback),
        )
