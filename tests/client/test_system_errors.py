"""What `dropzone` prints if the operating system refuses a call."""

import os
import resource
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.client.conftest import Start
from tests.stack import Stack


def limit_files() -> None:
    """Let the operating system refuse each write to a file, as on a full disk. Pipes have no such limit."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def enter_and_delete(folder: Path) -> None:
    """Make a deleted folder the current folder."""
    os.chdir(folder)
    folder.rmdir()


def refusal(stack: Stack, start: Start, *arguments: str | Path, prepare: Callable[[], None] | None = None) -> str:
    """Run a command that fails; return what it prints."""
    ran = start(stack, stack.key, *arguments, preexec_fn=prepare)
    output, errors = ran.communicate(timeout=100)
    assert (ran.returncode, output) == (1, b"")
    return errors.decode()


def test_a_file_name_that_is_too_long_is_not_a_failed_write(stack: Stack, start: Start) -> None:
    """A user may have passed the JSON text of a sample instead of a file."""
    name = '{"data":[' + "1," * 200 + "1]}"

    assert refusal(stack, start, "submit", name) == f"error: cannot access {name}: File name too long\n"


@pytest.mark.skipif(os.getuid() == 0, reason="root can read each folder")
def test_a_folder_that_cannot_be_read_is_not_a_failed_write(stack: Stack, start: Start, tmp_path: Path) -> None:
    """The message names the file."""
    folder = tmp_path / "secret"
    folder.mkdir(mode=0)

    message = refusal(stack, start, "submit", folder / "a.json")

    assert message == f"error: cannot access {folder}/a.json: Permission denied\n"


def test_a_deleted_current_folder_is_not_a_failed_write(stack: Stack, start: Start, tmp_path: Path) -> None:
    """The error of the operating system names no file, and standard output is not the cause."""
    folder = tmp_path / "deleted"
    folder.mkdir()

    message = refusal(stack, start, "watch", "--cursor-file", "state", prepare=partial(enter_and_delete, folder))

    assert message == "error: No such file or directory\n"


def test_a_state_file_on_a_full_disk_is_named(stack: Stack, start: Start, tmp_path: Path) -> None:
    """Standard output is not full, although the error of the operating system names no file."""
    state = tmp_path / "state"

    message = refusal(stack, start, "watch", "--cursor-file", state, prepare=limit_files)

    assert message == f"error: cannot access {state}: File too large\n"
