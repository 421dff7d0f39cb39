"""A data file that is missing, empty, truncated, replaced or without its log is refused with what to do."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.embedded.firestore.data_file import restore
from infra.embedded.firestore.data_file.file_format import UnusableFile
from tests.infra.firestore.data_file.data_files import (
    archive,
    delete,
    empty,
    halve,
    log_of,
    overwrite,
    refusal,
    shorten,
    use,
    write,
)
from tests.infra.firestore.server_process import FirestoreProcess


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (delete, "is missing, but firestore.sqlite.marker says that it had data"),
        (empty, "is empty, but firestore.sqlite.marker says that it had data"),
        (halve, "is truncated"),
        (shorten, "is truncated"),
        (overwrite, "is not an SQLite database, or its first bytes are damaged"),
    ],
)
def test_a_damaged_data_file_is_refused(
    own: FirestoreProcess, ended: Path, damage: Callable[[Path], None], words: str
) -> None:
    """The message has the command that restores a backup."""
    use(own, ended)
    damage(own.data)

    line = refusal(own)

    assert words in line
    assert f"archive restore BACKUP --data {own.data}" in line


@pytest.mark.parametrize("damage", [delete, empty, halve])
@pytest.mark.parametrize("starts", [1, 2])
def test_a_log_that_is_lost_after_a_crash_is_noticed(
    own: FirestoreProcess, killed_at_once: Path, killed: Path, damage: Callable[[Path], None], starts: int
) -> None:
    """Its commits were acknowledged. The operator can accept the loss."""
    use(own, killed_at_once if starts == 1 else killed)
    damage(log_of(own.data))

    line = refusal(own)
    assert f"archive accept-loss --data {own.data}" in line
    assert "contains no data" in line or "ends at change" in line

    archive("accept-loss", "--data", own.data)
    own.start()
    write(own, 1000)
    assert len(list(own.client().collection("t").stream())) >= 60 * (starts - 1) + 60


def test_a_loss_of_a_file_that_never_existed_is_not_accepted(tmp_path: Path) -> None:
    """The path is probably misspelled, and the server would still refuse its data file."""
    message = archive("accept-loss", "--data", tmp_path / "firestroe.sqlite", code=1)

    assert message == f"{tmp_path / 'firestroe.sqlite'} does not exist; enter the data file of the server\n"
    assert not list(tmp_path.iterdir())


def test_a_log_that_another_program_has_applied_is_not_missing(own: FirestoreProcess, killed_at_once: Path) -> None:
    """SQLite deletes the log when the last connection is closed."""
    use(own, killed_at_once)
    assert own.query("SELECT count(*) FROM documents") == [(60,)]
    assert not log_of(own.data).exists()

    own.start()

    assert len(list(own.client().collection("t").stream())) == 60


def test_a_file_without_its_marker_is_accepted(own: FirestoreProcess, ended: Path) -> None:
    """For example a data file that was moved. The server writes the marker again."""
    use(own, ended)
    marker = own.data.with_name("firestore.sqlite.marker")
    marker.unlink()

    own.start()

    assert "sequence 00000000000000000060\n" in marker.read_text()
    write(own, 100)
    assert "sequence 00000000000000000120\n" in marker.read_text()


def test_another_database_is_refused(own: FirestoreProcess, ended: Path, tmp_path: Path) -> None:
    """Also a database of another program."""
    use(own, ended)
    other = FirestoreProcess(tmp_path / "other")
    other.data.parent.mkdir()
    other.start()
    write(other, 0)
    other.end()
    other.close()
    shutil.copy(other.data, own.data)
    assert "contains another database than before" in refusal(own)

    own.data = tmp_path / "foreign.sqlite"
    with sqlite3.connect(own.data) as connection:
        connection.execute("CREATE TABLE users (name TEXT)")
    assert "is an SQLite database of another program" in refusal(own)


def test_a_folder_that_cannot_be_used_is_named(own: FirestoreProcess, tmp_path: Path) -> None:
    """For example a volume with wrong permissions. A file in place of the folder fails for root too."""
    (tmp_path / "volume").touch()
    own.data = tmp_path / "volume" / "firestore.sqlite"

    assert f"the folder {tmp_path / 'volume'} cannot be used: " in refusal(own)


@pytest.mark.skipif(not shutil.which("setpriv"), reason="only Linux has this command")
def test_a_file_without_write_permission_is_refused(own: FirestoreProcess, ended: Path) -> None:
    """The server started, and refused writes until a restart. Its next start failed because of its own log."""
    use(own, ended)
    own.data.chmod(0o400)
    files = sorted(own.data.parent.glob("firestore.sqlite-*"))
    drop = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []  # root can write all files

    command = [*drop, sys.executable, *own.program, "--port", str(own.port), "--data", str(own.data)]
    failed = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)

    assert failed.returncode == 1
    assert f"{own.data} is read-only for this user: make this user its owner, with the mode 600" in failed.stderr
    assert sorted(own.data.parent.glob("firestore.sqlite-*")) == files


def test_a_restore_does_not_create_a_folder_with_a_mistyped_name(tmp_path: Path) -> None:
    """It restored the backup there, and the server then started with its earlier data."""
    (tmp_path / "copy.sqlite").touch()
    with pytest.raises(UnusableFile, match=r"dropzon does not exist: correct --data, or create the folder$"):
        restore.restore(tmp_path / "copy.sqlite", tmp_path / "dropzon" / "firestore.sqlite")

    assert not (tmp_path / "dropzon").exists()


def test_a_restore_replaces_no_folder(tmp_path: Path, own: FirestoreProcess) -> None:
    """For example the data folder instead of the file in it. It was renamed, even while a server used it."""
    own.start()
    write(own, 0)
    archive("backup", "--data", own.data, "--output", tmp_path / "copy.sqlite")

    with pytest.raises(UnusableFile, match=r" is not a file: correct --data$"):
        restore.restore(tmp_path / "copy.sqlite", own.data.parent)

    assert own.data.is_file()
