"""The log of a process: one line per event, as text or as JSON."""

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextvars import copy_context

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observability import logs, request_context
from observability.request_context import RequestContext

TRACEPARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    """The set-up of the test process, with which pytest records logs."""
    root, hook = logging.getLogger(), sys.excepthook
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], sys.excepthook = handlers, hook
    root.setLevel(level)
    logging.captureWarnings(False)


def logged(log_format: str, message: str, *arguments: object, **options: object) -> str:
    """Return what a logger writes."""
    stream = io.StringIO()
    logs.configure(log_format, stream)
    logging.getLogger("example").warning(message, *arguments, **options)  # type: ignore[arg-type]
    return stream.getvalue()


def test_a_json_line_has_the_names_of_cloud_logging() -> None:
    """Cloud Logging reads severity, message and time."""
    entry = json.loads(logged("json", "wrote %d results", 3, extra={"submitter": "station-7"}))

    assert entry.pop("time").endswith("Z")
    assert entry == {
        "severity": "WARNING",
        "message": "wrote 3 results",
        "logger": "example",
        "submitter": "station-7",
    }


def test_a_line_of_a_request_has_its_id_its_trace_and_its_submitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cloud Logging then shows all lines of a trace together."""
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "my-project")

    def serve() -> str:
        request_context.enter(RequestContext(b"abc", TRACEPARENT))
        request_context.set_submitter("station-7")
        return logged("json", "slow")

    entry = json.loads(copy_context().run(serve))

    assert (entry["request_id"], entry["submitter"]) == ("abc", "station-7")
    assert entry["logging.googleapis.com/trace"] == "projects/my-project/traces/0af7651916cd43dd8448eb211c80319c"
    assert entry["logging.googleapis.com/spanId"] == "b7ad6b7169203331"
    assert entry["logging.googleapis.com/trace_sampled"] is True


@given(text=st.text(), log_format=st.sampled_from(logs.FORMATS))
def test_any_text_of_a_client_is_on_one_line(text: str, log_format: str) -> None:
    """A client can write neither a second line nor a terminal sequence."""
    line = logged(log_format, "invalid value %s", text, extra={"value": text})

    assert line.endswith("\n")
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line


def test_an_exception_has_its_traceback_after_the_line_or_in_a_field() -> None:
    """Error Reporting of Google Cloud reads the field `stack_trace`."""
    try:
        int("too\nlong")
    except ValueError:
        text = logged("text", "failed", exc_info=True)
        entry = json.loads(logged("json", "failed", exc_info=True))

    assert text.splitlines()[0].endswith("example WARNING failed")
    assert text.splitlines()[1] == "Traceback (most recent call last):"
    assert entry["message"] == "failed"
    assert entry["stack_trace"].endswith("'too\\nlong'")


@pytest.mark.parametrize("log_format", logs.FORMATS)
def test_a_traceback_contains_no_terminal_sequence(log_format: str) -> None:
    """The message of an exception can contain the text of a client. Its line breaks stay."""
    try:
        raise RuntimeError("\x1b]0;title\x07 \x9b2J\r one\ntwo")  # noqa: TRY301 - the test needs its traceback
    except RuntimeError:
        text = logged(log_format, "failed", exc_info=True)

    shown = text if log_format == "text" else json.loads(text)["stack_trace"]
    assert "title" in shown
    assert shown.rstrip().splitlines()[-1] == "two"
    assert not any(character in shown for character in "\x1b\x07\x9b\r")


def test_a_long_traceback_is_cut_in_its_middle() -> None:
    """The supervisor splits longer lines."""
    entry = json.loads(logged("json", "failed", extra={"exception": "a" * 20_000 + "end"}))

    assert len(entry["stack_trace"]) < logs.MAX_TRACEBACK_CHARACTERS + 20
    assert entry["stack_trace"].endswith("end")


def test_without_a_format_the_log_is_text_on_a_terminal_and_json_elsewhere() -> None:
    """A person reads the first, a program the second."""
    code = "import logging; from observability import logs; logs.configure(); logging.getLogger('x').info('hello')"
    command = [sys.executable, "-c", code]
    controller, terminal = os.openpty()

    piped = subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True).stderr
    subprocess.run(command, check=True, stderr=terminal)
    shown = os.read(controller, 1000).decode()

    assert json.loads(piped)["message"] == "hello"
    assert shown.rstrip().endswith("x INFO hello")


def test_an_exception_that_no_code_handles_is_logged() -> None:
    """Its traceback would otherwise be many lines without a severity."""
    code = "from observability import logs; logs.configure('json'); raise RuntimeError('boom')"

    ended = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, check=False)

    entry = json.loads(ended.stderr)
    assert ended.returncode == 1
    assert entry["severity"] == "CRITICAL"
    assert "RuntimeError('boom')" in entry["message"]


def test_an_unknown_format_is_refused() -> None:
    """The message names the formats."""
    with pytest.raises(ValueError, match="must be text or json, got 'xml'"):
        logs.check_format("xml")
