"""What the supervisor checks and prepares before it starts anything."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.embedded import preflight
from infra.embedded.preflight import PreflightError
from infra.embedded.stack_file import reader
from infra.embedded.stack_file.stack import Stack
from tests.infra.supervisor.run import ROOT, Run, until

Start = Callable[..., Run]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("raise SystemExit(3)", "exited with code 3 and printed nothing"),
        ("import os; os.kill(os.getpid(), 9)", "was stopped by SIGKILL and printed nothing"),
    ],
)
def test_a_check_that_fails_without_a_word_is_explained(start: Start, script: str, message: str) -> None:
    """The error was empty. It now says how the command ended, and how to run it."""
    run = start(f'check = ["{{python}}", "-c", "{script}"]\n[[processes]]\nname = "a"\ncommand = ["x"]')

    assert run.wait() == 1

    assert f"error: the command `check` of the stack file {message}; to see why, run it: " in run.text
    assert script in run.text


def test_the_data_folder_is_made_private_at_every_start(start: Start, two_servers: str, tmp_path: Path) -> None:
    """An earlier version or a copy may have left it readable by others."""
    data, shared = tmp_path / "data", tmp_path / "shared"
    data.mkdir(mode=0o755)
    shared.write_text("linked")
    shared.chmod(0o644)
    (data / "database").write_text("secret")
    (data / "database").chmod(0o644)
    (data / "link").symlink_to(shared)

    run = start(two_servers)
    run.until("everything is ready")

    modes = {file.name: file.stat().st_mode & 0o777 for file in (data, data / "database", data / "supervisor.lock")}
    assert modes == {"data": 0o700, "database": 0o600, "supervisor.lock": 0o600}
    assert shared.stat().st_mode & 0o777 == 0o644


def test_a_data_folder_that_is_a_link_to_itself_is_refused(start: Start, two_servers: str, tmp_path: Path) -> None:
    """The message names the folder, the cause and the setting. It was a traceback."""
    data = tmp_path / "data"
    data.symlink_to(data)

    refused = start(two_servers)

    assert refused.wait() == 1
    (line,) = refused.lines
    assert line.startswith(f"error: cannot use the data folder {data}: [Errno {errno.ELOOP}]")
    assert line.endswith("set TEST_DATA to a folder that this user can write to")


def test_a_data_folder_on_a_disk_that_is_not_mounted_is_not_replaced_by_an_empty_one(
    start: Start, two_servers: str, tmp_path: Path
) -> None:
    """The data folder is a link to a folder on the disk. The stack starts as soon as this folder exists."""
    data, target = tmp_path / "data", tmp_path / "disk" / "folder"
    data.symlink_to(target)

    refused = start(two_servers)
    code, is_created = refused.wait(), target.parent.exists()
    target.mkdir(parents=True)
    start(two_servers).until("everything is ready")

    assert (code, is_created) == (1, False)
    assert f"error: the data folder {data} is a link to {target}, which does not exist: mount its disk" in refused.text
    assert (target / "supervisor.lock").exists()


def test_a_data_folder_that_cannot_be_reached_is_refused(start: Start, two_servers: str, tmp_path: Path) -> None:
    """The system can refuse to follow a link: a name is too long, or this user cannot search a folder."""
    (tmp_path / "data").symlink_to("a" * 300)

    run = start(two_servers)

    assert run.wait() == 1
    assert f"error: cannot use the data folder {tmp_path / 'data'}: " in run.text


def test_a_data_folder_of_another_user_is_refused_with_both_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example after `sudo make run`. The message said only that the permission was denied."""
    lock = tmp_path / "data" / "supervisor.lock"

    def open_lock(file: Path) -> int:
        file.touch()
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))

    owner = os.getuid()
    monkeypatch.setattr(preflight, "_open", open_lock)
    monkeypatch.setattr(os, "geteuid", lambda: owner + 61_000)
    stack = Stack(environment_prefix="TEST_", data_setting="data", settings={"data": str(lock.parent)})

    with pytest.raises(PreflightError) as refused:
        preflight.prepare(stack)

    assert f"{os.strerror(errno.EACCES)}: '{lock}'; {lock.parent} belongs to the user " in str(refused.value)
    other = f"the user {owner + 61_000}"
    assert str(refused.value).endswith(
        f"this process runs as {other}: make {other} the owner of the folder and its files, or set TEST_DATA to a "
        "folder that this user can write to"
    )


@pytest.mark.skipif(not shutil.which("setpriv"), reason="only Linux has this command")
def test_a_start_that_fails_names_the_files_that_the_user_cannot_use(two_servers: str, tmp_path: Path) -> None:
    """For example after `sudo ... archive restore`. The message said only that the permission was denied."""
    key = tmp_path / "data" / "api-key"
    key.parent.mkdir()
    (key.parent / "firestore.sqlite").touch()
    key.touch(0o000)
    (tmp_path / "stack.toml").write_text(two_servers)
    drop = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []  # root can read all files

    command = [*drop, sys.executable, "-m", "infra.embedded", "--stack", str(tmp_path / "stack.toml")]
    failed = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)

    assert failed.returncode == 1
    assert "first exited with code 2 during its start" in failed.stdout
    assert f" cannot read or write {key}: make the user " in failed.stdout


def test_processes_create_files_that_only_their_user_can_read(start: Start, tmp_path: Path) -> None:
    """That includes files outside the data folder, such as backups."""
    run = start(
        f'[[processes]]\nname = "writer"\ncommand = ["/bin/sh", "-c", "echo x > {tmp_path}/created; sleep 60"]\n'
    )
    until((tmp_path / "created").exists, "the process did not create its file")

    run.stop()

    assert (tmp_path / "created").stat().st_mode & 0o777 == 0o600


SCRATCH = """
data_setting = "data"
[settings]
data = "{folder}/data"
[[processes]]
name = "user"
command = ["/bin/sh", "-c", "ls -a $SCRATCH; touch $SCRATCH/left; echo listed; exec sleep 60"]
environment = {{ SCRATCH = "{{scratch_folder}}" }}
"""


def scratch_folder(folder: Path) -> Path:
    """Return the scratch folder of the stack file in a folder."""
    path = reader.read(folder / "stack.toml", os.environ).scratch_folder
    assert path is not None
    return path


def test_the_scratch_folder_is_private_and_empty_at_every_start(start: Start, tmp_path: Path) -> None:
    """It is removed at the end, also if the supervisor is killed."""
    run = start(SCRATCH.format(folder=tmp_path))
    run.until("listed")
    scratch = scratch_folder(tmp_path)
    mode = scratch.stat().st_mode & 0o777
    run.process.kill()
    again = start(SCRATCH.format(folder=tmp_path))
    again.until("listed")

    again.stop()

    assert mode == 0o700
    assert "left" not in again.text
    assert not scratch.exists()


def test_a_scratch_folder_of_another_is_not_used(start: Start, tmp_path: Path) -> None:
    """In a folder that all users share, another user can create the folder first, or a link to a folder."""
    (tmp_path / "stack.toml").write_text(SCRATCH.format(folder=tmp_path))
    scratch, target = scratch_folder(tmp_path), tmp_path / "target"
    target.mkdir()
    scratch.symlink_to(target)

    try:
        run = start(SCRATCH.format(folder=tmp_path))

        assert run.wait() == 1
        assert f"the scratch folder {scratch} belongs to another user: remove it" in run.text
    finally:
        scratch.unlink()


def test_a_stack_starts_on_a_full_disk(start: Start, two_servers: str, tmp_path: Path) -> None:
    """It can still serve reads. The number of its process, which only an error message contains, is not stored.

    Here, a FIFO refuses this number.
    """
    (tmp_path / "data").mkdir()
    os.mkfifo(tmp_path / "data" / "supervisor.lock")

    start(two_servers).until("everything is ready")
