"""A command whose standard streams are closed or full, or whose output has no reader any more, prints no traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = """
import sys
from runtime import interruption
try:
    with interruption.ends_command():
        print(sys.stdin.isatty(), "x" * {size})
except OSError as error:
    sys.exit(f"error: {{error}}")
"""


def run(redirection: str, size: int = 1) -> tuple[int, str]:
    """Run a command in a shell. Return its exit code and what it prints on standard error."""
    command = f'"$0" -c "$1" {redirection}'
    ended = subprocess.run(
        ["sh", "-c", command, sys.executable, COMMAND.format(size=size)], stderr=-1, stdout=-1, text=True, check=False
    )
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("redirection", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_dev_null(redirection: str) -> None:
    """Python has None instead of the stream, so a method of it failed."""
    assert run(redirection) == (0, "")


@pytest.mark.parametrize("size", [1, 100_000])
def test_a_command_ends_silently_if_nothing_reads_its_output(size: int) -> None:
    """The output of `keys list | head` ended with an error. A short output is written at the end of the command."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with subprocess.Popen(
            [sys.executable, "-c", COMMAND.format(size=size)], stdout=writer, stderr=-1, text=True
        ) as running:
            _, errors = running.communicate()
    finally:
        os.close(writer)

    assert (running.returncode, errors) == (141, "")


def test_the_broken_pipe_of_a_connection_is_an_error_of_the_command() -> None:
    """Only if standard output has no reader, the command ends silently."""
    failing = COMMAND.replace("print(", "raise BrokenPipeError('the connection is lost') or (")
    ended = subprocess.run([sys.executable, "-c", failing.format(size=1)], stdout=-1, stderr=-1, text=True, check=False)

    assert (ended.returncode, ended.stderr) == (1, "error: the connection is lost\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full, as Linux has one")
def test_an_output_that_is_full_is_an_error_of_the_command() -> None:
    """Python would write it after the command, and exit with 120."""
    code, errors = run(">/dev/full")

    assert (code, errors) == (1, "error: [Errno 28] No space left on device\n")
