"""The log of a process: one line per event, as text or as JSON. Every process calls `configure` once.

JSON lines have the field names that Cloud Logging reads: `severity`, `message`, `time`, `httpRequest`, and the trace.
Other programs can read them too. Modules log with the standard library; structlog formats the lines.

Text of a client can contain line breaks and terminal sequences. Control characters are therefore replaced by spaces,
except in the traceback of an exception, which has lines of its own.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable, MutableMapping
from types import TracebackType
from typing import Any, TextIO

import orjson
import structlog
from structlog.dev import Column, ConsoleRenderer, KeyValueColumnFormatter

from observability import request_context

FORMATS = ("text", "json")
LABELS = "logging.googleapis.com/labels"
MAX_TRACEBACK_CHARACTERS = 8_000

_TRACE = "logging.googleapis.com/trace"
_SPAN_ID = "logging.googleapis.com/spanId"
_TRACE_SAMPLED = "logging.googleapis.com/trace_sampled"
_CONTROL_CHARACTERS = dict.fromkeys((*range(32), *range(127, 160), 0x2028, 0x2029), " ")

_Entry = MutableMapping[str, Any]
_Processor = Callable[[Any, str, _Entry], Any]
logger = logging.getLogger("process")


def configure(log_format: str = "", stream: TextIO | None = None) -> None:
    """Write the log of this process to `stream`, by default standard error, as `text` or `json`.

    Without a format, the log is text on a terminal and JSON otherwise. Exceptions that no code handles and warnings of
    Python are logged too.
    """
    stream = stream or sys.stderr
    handler = _Handler(stream)
    handler.setFormatter(_formatter(is_json=(log_format or default_format(stream)) == "json"))
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
    """Return an entry as one line of JSON. Values that JSON does not have are written as text."""
    return orjson.dumps(entry, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class _Handler(logging.StreamHandler[TextIO]):
    """The handler of this module, so that a second call of `configure` replaces it."""


def _formatter(*, is_json: bool) -> logging.Formatter:
    shared: list[_Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        _add_request,
        structlog.processors.format_exc_info,
        _clean,
    ]
    time = (
        structlog.processors.TimeStamper(fmt="iso", utc=True)
        if is_json
        else structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False)
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, time],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *([_name_for_cloud_logging, _render_json] if is_json else [_shorten_for_people, _text_renderer()]),
        ],
    )


def _text_renderer() -> ConsoleRenderer:
    def plain(key: str) -> Column:
        return Column(key, KeyValueColumnFormatter(None, "", "", str))

    return ConsoleRenderer(
        exception_formatter=structlog.dev.plain_traceback,
        columns=[
            *map(plain, ("timestamp", "logger", "level", "event")),
            Column("", KeyValueColumnFormatter("", "", "", str)),
        ],
    )


def _add_request(_: object, __: str, entry: _Entry) -> _Entry:
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
    return entry


def _clean(_: object, __: str, entry: _Entry) -> _Entry:
    """Replace control characters, and shorten a long traceback."""
    entry.pop("message", None)  # an attribute that formatters of other handlers add to the record
    for key, value in entry.items():
        if isinstance(value, str) and key != "exception":
            entry[key] = value.translate(_CONTROL_CHARACTERS)
    trace = entry.get("exception")
    if trace and len(trace) > MAX_TRACEBACK_CHARACTERS:
        half = MAX_TRACEBACK_CHARACTERS // 2
        entry["exception"] = f"{trace[:half]} (cut) {trace[-half:]}"
    return entry


def _name_for_cloud_logging(_: object, __: str, entry: _Entry) -> _Entry:
    named: _Entry = {
        "severity": entry.pop("level").upper(),
        "message": entry.pop("event"),
        "time": entry.pop("timestamp"),
    }
    if (trace := entry.pop("exception", None)) is not None:
        named["stack_trace"] = trace
    named.update(entry)
    return named


def _shorten_for_people(_: object, __: str, entry: _Entry) -> _Entry:
    """Remove what the message of an access log line already says, and the names for Cloud Logging."""
    entry["level"] = entry["level"].upper()
    entry.pop("httpRequest", None)
    for name in (_SPAN_ID, _TRACE_SAMPLED):
        entry.pop(name, None)
    if trace := entry.pop(_TRACE, None):
        entry["trace"] = trace.rpartition("/")[2]
    return entry


def _render_json(_: object, __: str, entry: _Entry) -> str:
    return json_line(entry)


def _log_unhandled(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logger.critical("ends because of an unhandled exception: %r", error, exc_info=(kind, error, trace))


def _log_unhandled_in_thread(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is not None:
        name = "" if arguments.thread is None else arguments.thread.name
        logger.error(
            "the thread %s ended because of an unhandled exception: %r",
            name,
            arguments.exc_value,
            exc_info=(arguments.exc_type, arguments.exc_value, arguments.exc_traceback),
        )
