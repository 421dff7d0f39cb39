"""The log writer: equal lines in a loop are summarized, all others are written."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from infra.embedded.logs import MAX_EQUAL_LINES, SUMMARY_SECONDS, JsonStyle, Logs, Repetitions, TextStyle
from infra.embedded.output import MAX_WAITING_BYTES, Output
from observability.logs import LABELS
from tests.infra.supervisor.run import ROOT, Run

FAILURE = "2026-11-27 11:38:10,{:03d} firestore ERROR the disk is full"


def test_a_line_in_a_loop_is_summarized() -> None:
    """A full disk wrote 21,928 equal lines in five minutes. The time at the start of a line does not count."""
    repetitions = Repetitions()

    written = [number for number in range(1_000) if repetitions.admit(FAILURE.format(number), 0.0)]
    early = repetitions.summarize(SUMMARY_SECONDS / 2)
    summary = repetitions.summarize(SUMMARY_SECONDS)

    assert written == list(range(MAX_EQUAL_LINES))
    assert early == []
    assert summary == [(FAILURE.format(999), 1_000 - MAX_EQUAL_LINES, False)]


def test_a_loop_that_continues_is_only_summarized() -> None:
    """After a period without the line, it is written again."""
    repetitions = Repetitions()
    for number in range(10):
        repetitions.admit(FAILURE.format(number), 0.0)
    repetitions.summarize(SUMMARY_SECONDS)

    continued = repetitions.admit(FAILURE.format(10), SUMMARY_SECONDS)
    summary = repetitions.summarize(2 * SUMMARY_SECONDS)
    repetitions.summarize(3 * SUMMARY_SECONDS)

    assert not continued
    assert summary == [(FAILURE.format(10), 1, False)]
    assert repetitions.admit(FAILURE.format(11), 3 * SUMMARY_SECONDS)


def test_the_line_with_which_a_command_ends_is_an_error() -> None:
    """A command that cannot read the file with the API key said so with the severity INFO."""
    reader, writer = os.pipe()
    output = Output(writer, notice=str)
    logs = Logs(output, ["key"], JsonStyle())

    logs.write("key", "error: cannot read the file")
    logs.write("key", "0 errors: all is well")
    output.close()
    os.close(writer)

    with os.fdopen(reader) as stream:
        assert [json.loads(line)["severity"] for line in stream] == ["ERROR", "INFO"]


def test_each_line_of_an_error_of_the_stack_is_an_error() -> None:
    """The reason for which a stack does not start can have several lines."""
    reader, writer = os.pipe()
    output = Output(writer, notice=str)
    logs = Logs(output, ["stack"], JsonStyle())

    logs.write_error("stack", "the function exited\nits last line")
    output.close()
    os.close(writer)

    with os.fdopen(reader) as stream:
        written = [json.loads(line) for line in stream]
    assert [(line["severity"], line["message"]) for line in written] == [
        ("ERROR", "the function exited"),
        ("ERROR", "its last line"),
    ]


def test_lines_with_different_texts_are_written() -> None:
    """That includes those that alternate with a line in a loop."""
    repetitions = Repetitions()

    admitted = [repetitions.admit(f"sample {number}: FAILED", 0.0) for number in range(100)]

    assert all(admitted)


def test_many_different_lines_are_written_without_being_counted() -> None:
    """The memory of the supervisor does not grow with the output of its processes."""
    repetitions = Repetitions()

    admitted = [repetitions.admit(f"line {number}", 0.0) for number in range(5_000)]
    admitted += [repetitions.admit("line 4999", 0.0) for _ in range(100)]

    assert all(admitted)


def test_the_end_of_the_stack_writes_the_last_summary() -> None:
    """No line is lost without a word."""
    reader, writer = os.pipe()
    output = Output(writer, notice=str)
    logs = Logs(output, ["api"], TextStyle(["api"], is_colored=False))

    for _ in range(20):
        logs.write("api", "again")
    logs.summarize_repeated(is_last=True)
    output.close()
    os.close(writer)

    with os.fdopen(reader) as stream:
        assert stream.read() == "api | again\n" * MAX_EQUAL_LINES + "api | repeated 15 times: again\n"


def test_the_summary_of_a_repeated_error_is_an_error() -> None:
    """A process that exits at each start is an ERROR in the log for as long as this lasts."""
    reader, writer = os.pipe()
    style = JsonStyle()
    output = Output(writer, notice=str)
    logs = Logs(output, ["stack"], style)

    for _ in range(20):
        logs.write("stack", "function exited with code 1; restarting in 1 s", is_error=True)
    logs.summarize_repeated(is_last=True)
    output.close()
    os.close(writer)

    with os.fdopen(reader) as stream:
        *_, summary = map(json.loads, stream)
    assert (summary["severity"], summary["repeated"]) == ("ERROR", 20 - MAX_EQUAL_LINES)


def test_a_reader_that_pauses_does_not_block_the_supervisor() -> None:
    """A terminal stops reading after Ctrl-S. A bounded number of lines waits, and the output tells what is missing.

    This line has the format of the log, so a program can parse it.
    """
    reader, writer = os.pipe()
    output = Output(writer, notice=partial(JsonStyle().line, "stack", is_error=True))
    line = "x" * 1_000
    count = 2 * MAX_WAITING_BYTES // len(line)

    for _ in range(count):
        output.write(line)
    with os.fdopen(reader) as stream:
        lines = [stream.readline() for _ in range(400)]  # makes room for another line
        output.write("later")
        lines += iter(stream.readline, "later\n")
        output.close()
        os.close(writer)

    notices = [json.loads(each) for each in lines if each != f"{line}\n"]
    notice = re.compile(r"(\d+) lines were dropped, because the output was read too slowly")
    dropped = [int(match[1]) for match in (notice.fullmatch(each["message"]) for each in notices) if match]
    assert dropped
    assert lines.count(f"{line}\n") == len(lines) - len(dropped) == count - sum(dropped)


def test_the_end_of_the_reader_is_reported_before_and_after_the_callback_is_known() -> None:
    """The supervisor then stops."""
    for is_early in (False, True):
        reader, writer = os.pipe()
        os.close(reader)
        output, lost = Output(writer, notice=str), threading.Event()
        if not is_early:
            output.when_lost(lost.set)
        output.write("x")
        output.close()
        if is_early:
            output.when_lost(lost.set)

        assert lost.wait(60)
        os.close(writer)


def test_a_disk_that_is_full_within_a_line_does_not_join_two_lines(tmp_path: Path) -> None:
    """A program that reads the log would get a line that is neither the first nor the second."""
    program = """
import os, resource, sys
from infra.embedded.output import Output
output = Output(os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY | os.O_APPEND), notice="stack | {}".format)
for line in ("one", "longer line", "two", "three", "four"):
    max_bytes = 1_000 if line in ("three", "four") else 10
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, 1_000))
    output._write(line.encode() + b"\\n")
output.close()
"""
    log = tmp_path / "log"

    subprocess.run([sys.executable, "-c", program, str(log)], cwd=ROOT, check=True, timeout=60)

    first, cut, notice, *rest = log.read_text().splitlines()
    assert (first, cut, rest) == ("one", "longer", ["three", "four"])
    assert notice.startswith("stack | 2 lines were dropped, because the output could not be written: ")


def test_a_json_line_of_a_process_keeps_its_fields_and_gets_the_name_as_a_label() -> None:
    """Any other line becomes the message of an entry, also if it only looks like JSON."""
    style = JsonStyle()

    entry = json.loads(style.line("api", '{"severity":"INFO","message":"hello"}'))
    texts = [json.loads(style.line("api", text)) for text in ("plain", "{not json}", '{"a": 1}')]
    repeated = json.loads(style.line("api", '{"severity":"INFO","message":"hello"}', repeated=3))

    label = {"logging.googleapis.com/labels": {"process": "api"}}
    assert entry == {"severity": "INFO", "message": "hello"} | label
    assert [each["message"] for each in texts] == ["plain", "{not json}", '{"a": 1}']
    assert repeated == entry | {"repeated": 3}


def test_the_supervisor_sets_one_format_for_all_processes(start: Callable[..., Run], two_servers: str) -> None:
    """Without a setting, the output of a supervisor without a terminal is JSON."""
    stack = two_servers.replace('slow = "0"', 'slow = "0"\nformat = ""').replace(
        'data_setting = "data"', 'data_setting = "data"\nlog_setting = "format"\nready_message = "\\nready\\n"'
    )
    stack = stack.replace('"{python}",', '"sh", "-c", "echo format $TEST_FORMAT; exec \\"$@\\"", "sh", "{python}",', 1)

    run = start(stack)
    run.until('"message":"ready"')
    run.until("second runs as")  # it listens before it prints this
    run.stop()

    entries = [json.loads(line) for line in run.lines]
    processes = {entry["message"]: entry["logging.googleapis.com/labels"]["process"] for entry in entries}
    assert "format json" in processes
    assert {name for message, name in processes.items() if "runs as" in message} == {"first", "second"}
    assert processes["ready"] == "stack"


def test_an_unknown_format_is_refused(start: Callable[..., Run], two_servers: str) -> None:
    """The message names the variable."""
    stack = two_servers.replace('slow = "0"', 'slow = "0"\nformat = ""').replace(
        'data_setting = "data"', 'data_setting = "data"\nlog_setting = "format"'
    )

    run = start(stack, TEST_FORMAT="xml")

    assert run.wait() == 1
    assert run.text == "error: TEST_FORMAT must be text or json, got 'xml'"


def test_the_last_lines_of_a_failed_process_are_messages_without_json(
    start: Callable[..., Run], tmp_path: Path
) -> None:
    """JSON within the message of a JSON line is hard to read. A message can have several lines."""
    logged = json.dumps({"severity": "ERROR", "message": "the disk failed\nfor this reason"})
    (tmp_path / "broken.py").write_text(f"print('plain text')\nprint({logged!r})\nraise SystemExit(1)\n")
    run = start(
        'log_setting = "format"\n[settings]\nformat = "json"\n[[processes]]\nname = "broken"\n'
        f'command = ["{{python}}", "{tmp_path}/broken.py"]\nonce = true\n'
    )

    assert run.wait() == 1

    messages = [entry["message"] for entry in map(json.loads, run.lines) if entry[LABELS] == {"process": "stack"}]
    assert messages == [
        "broken exited with code 1 during its start; its last lines:",
        "    plain text",
        "    the disk failed",
        "    for this reason",
    ]
