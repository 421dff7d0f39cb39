"""`archive backup` creates a complete copy that only its owner can read, or no file."""

import contextlib
import fcntl
import resource
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from infra.embedded.firestore import archive as archive_command
from tests.infra.firestore.data_file.data_files import archive, use
from tests.infra.firestore.server_process import FirestoreProcess


@pytest.fixture
def copy(own: FirestoreProcess, ended: Path) -> Path:
    """The path of a backup of a file with data. The backup does not exist."""
    use(own, ended)
    return own.data.with_name("copy.sqlite")


def test_only_its_owner_can_read_a_backup(own: FirestoreProcess, copy: Path) -> None:
    """It contains what the data file contains."""
    archive("backup", "--data", own.data, "--output", copy)

    assert copy.stat().st_mode & 0o777 == 0o600


def test_a_backup_does_not_start_again_after_a_commit(
    own: FirestoreProcess, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a backup of a large file would never end. It contains the state at its start."""

    class Live(sqlite3.Connection):
        def backup(self, target: sqlite3.Connection, **options: Any) -> None:
            super().backup(target, pages=1, progress=commit)

    def commit(*_: int) -> None:
        with contextlib.closing(sqlite3.connect(own.data)) as other, other:
            other.execute("INSERT OR IGNORE INTO settings VALUES ('later', 1)")

    def open_live(path: Path) -> sqlite3.Connection:
        return sqlite3.connect(path, factory=Live, isolation_level=None)

    monkeypatch.setattr(archive_command, "_open", open_live)

    archive("backup", "--data", own.data, "--output", copy)

    for path, count in ((own.data, 1), (copy, 0)):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT count(*) FROM settings WHERE name = 'later'").fetchone() == (count,)


def test_a_failed_backup_leaves_no_file(own: FirestoreProcess, copy: Path) -> None:
    """The next backup with the same name succeeds. Otherwise, a backup of every night would fail forever."""
    before = set(own.data.parent.iterdir())
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, limit[1]))
        message = archive("backup", "--data", own.data, "--output", copy, code=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    after = set(own.data.parent.iterdir())

    assert str(copy) in message
    assert {path.name for path in after - before} <= {f"{own.data.name}-shm", f"{own.data.name}-wal"}
    archive("backup", "--data", own.data, "--output", copy)
    assert archive("check", "--data", copy) == "no problems found\n"


def test_a_backup_that_was_killed_is_made_again(own: FirestoreProcess, copy: Path) -> None:
    """The incomplete file has another name."""
    copy.with_name("copy.sqlite.partial").write_bytes(b"unfinished")

    archive("backup", "--data", own.data, "--output", copy)

    assert not copy.with_name("copy.sqlite.partial").exists()
    assert archive("check", "--data", copy) == "no problems found\n"


def test_a_backup_does_not_replace_a_link_to_a_disk_that_is_not_mounted(own: FirestoreProcess, copy: Path) -> None:
    """The backup of every night would then fill the disk of the data file."""
    target = copy.with_name("disk") / "copy.sqlite"
    copy.symlink_to(target)

    message = archive("backup", "--data", own.data, "--output", copy, code=1)

    assert f"{copy} is a link to {target}, which does not exist: mount its disk" in message
    assert copy.is_symlink()


def test_two_backups_do_not_write_the_same_file(own: FirestoreProcess, copy: Path) -> None:
    """The second backup is refused, and does not delete the file of the first."""
    unfinished = copy.with_name("copy.sqlite.partial")
    with unfinished.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        message = archive("backup", "--data", own.data, "--output", copy, code=1)

        assert "another backup" in message
        assert unfinished.exists()
    assert not copy.exists()


@pytest.mark.parametrize("command", ["check", "export", "backup --output copy.sqlite"])
def test_an_empty_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """`check` said that the file has an older format, and the others `no such table: documents`."""
    monkeypatch.chdir(tmp_path)
    Path("empty.sqlite").touch()

    assert archive(*command.split(), "--data", "empty.sqlite", code=1) == "the data file empty.sqlite is empty\n"

    assert not Path("copy.sqlite").exists()


def test_a_file_that_cannot_be_written_is_named(own: FirestoreProcess, copy: Path) -> None:
    """Commands print one line, without a traceback."""
    missing = copy.parent / "missing" / "copy.sqlite"

    assert str(missing.parent) in archive("backup", "--data", own.data, "--output", missing, code=1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full, as Linux has one")
@pytest.mark.usefixtures("copy")
def test_a_full_disk_is_an_error_of_an_export(
    own: FirestoreProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Commands print one line, without a traceback."""
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.argv", ["archive", "export", "--data", str(own.data)])
        monkeypatch.setattr("sys.stdout", full)
        code = archive_command.main()
        monkeypatch.undo()

    assert code == 1
    assert "No space left on device" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check", "export"])
def test_a_file_that_is_not_a_database_is_named(tmp_path: Path, command: str) -> None:
    """The message of SQLite does not say which file is wrong."""
    path = tmp_path / "notes.txt"
    path.write_text("This is not a database. " * 100)

    message = archive(command, "--data", path, code=1)

    assert message == f"{path} cannot be used: file is not a database\n"
