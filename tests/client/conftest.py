"""The command as its user runs it: a process, with a home of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.stack import Stack

Process = subprocess.Popen[bytes]
Start = Callable[..., Process]


def everything(terminal: int) -> bytes:
    """Return what a process writes to a terminal until it ends."""
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 65_536)
        except OSError:  # the other side is closed
            return shown


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start `dropzone` with arguments, for a stack, with a key; what still runs at the end is killed."""
    with ExitStack() as running:

        def start(stack: Stack, key: str, *arguments: str | Path, **options: Any) -> Process:
            given = (
                os.environ
                | stack.firestore_environment
                | {
                    "DROPZONE_URL": stack.url,
                    "DROPZONE_KEY": key,
                    "XDG_STATE_HOME": str(tmp_path / "state"),
                }
            )
            streams: dict[str, Any] = {
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
            }
            command = [sys.executable, "-m", "dropzone", *arguments]
            process = running.enter_context(subprocess.Popen(command, bufsize=0, env=given, **(streams | options)))
            running.callback(process.kill)
            return process

        yield start
