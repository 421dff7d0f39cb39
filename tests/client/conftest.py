"""The command `dropzone` as its users run it, a process, and in this process."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from dropzone.command.app import app
from tests.stack import Stack

Process = subprocess.Popen[bytes]
Start = Callable[..., Process]


def run(stack: Stack, key: str, *arguments: str | Path) -> Result:
    """Run `dropzone` with arguments, for a stack, with a key, in this process: a process needs a second to start.

    Standard output is not a terminal, and standard input is empty.
    """
    environment = {"DROPZONE_URL": stack.url, "DROPZONE_KEY": key}
    return CliRunner().invoke(app, list(map(str, arguments)), env=environment, catch_exceptions=False)


def output_of(stack: Stack, key: str, *arguments: str | Path) -> str:
    """Return the standard output of a command that succeeds in this process."""
    ran = run(stack, key, *arguments)
    assert ran.exit_code == 0, ran.stderr
    return ran.stdout


def read_terminal(terminal: int) -> bytes:
    """Return what a process writes to a terminal until it exits."""
    output = b""
    while True:
        try:
            output += os.read(terminal, 65_536)
        except OSError:  # the process closed its side
            return output


@pytest.fixture
def start() -> Iterator[Start]:
    """Start `dropzone` with arguments, for a stack, with a key. Processes that still run at the end are killed."""
    with ExitStack() as running:

        def start(stack: Stack, key: str, *arguments: str | Path, **options: Any) -> Process:
            environment = os.environ | stack.firestore_environment | {"DROPZONE_URL": stack.url, "DROPZONE_KEY": key}
            streams: dict[str, Any] = {
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
            }
            command = [sys.executable, "-m", "dropzone", *arguments]
            keywords: dict[str, Any] = {"bufsize": 0, "env": environment} | streams | options
            process: Process = running.enter_context(subprocess.Popen(command, **keywords))
            running.callback(process.kill)
            return process

        yield start
