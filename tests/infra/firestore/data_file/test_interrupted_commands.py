"""Ctrl-C ends each command that reads or changes a data file, with one line and without unfinished files."""

import os
import signal
import sqlite3
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from infra.embedded.eventarc import __main__ as eventarc
from infra.embedded.firestore import archive
from runtime import interruption
from tests.infra.firestore.data_file.data_files import use
from tests.infra.firestore.server_process import FirestoreProcess

COMMANDS: dict[str, Callable[[], int]] = {
    "backup --output copy.sqlite": archive.main,
    "check": archive.main,
    "export": archive.main,
    "restore backup.sqlite": archive.main,
    "accept-loss": archive.main,
    "status": eventarc.main,
    "undelivered": eventarc.main,
    "dead-letters list": eventarc.main,
    "dead-letters resend": eventarc.main,
    "dead-letters discard 7": eventarc.main,
    "forget on_sample_written": eventarc.main,
}


class Interrupted:
    """Replaces `sqlite3.connect`. The call with this number is interrupted."""

    def __init__(self, number: int) -> None:
        self.calls_left = number
        self._connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def __call__(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        """Send SIGINT at the interrupted call. Any other call opens a file."""
        self.calls_left -= 1
        if self.calls_left == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return self._connect(*arguments, **options)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_a_data_file_ends_at_the_first_ctrl_c(
    command: str,
    own: FirestoreProcess,
    killed: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is interrupted when it opens a file. Then it can be repeated."""
    use(own, killed)
    monkeypatch.chdir(own.data.parent)
    monkeypatch.setattr("sys.argv", ["command", *command.split(), "--data", str(own.data)])
    for number in count(1):
        with monkeypatch.context() as patch:
            patch.setattr(sqlite3, "connect", interrupted := Interrupted(number))
            try:
                code = COMMANDS[command]()
            except SystemExit as ended:
                code = int(str(ended.code))
            except KeyboardInterrupt:
                pytest.fail("a traceback would be printed")
        if interrupted.calls_left > 0:
            break

        assert (code, capsys.readouterr().err) == (interruption.EXIT_CODE, "interrupted\n")
        assert not [path for end in ("partial", "restored", "restored-journal") for path in Path().glob(f"*.{end}")]

    assert number > 1, "the command must have been interrupted once"
