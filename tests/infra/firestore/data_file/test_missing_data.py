"""A data file that is missing, empty, truncated, replaced or without its log is refused with what to do."""

import contextlib
import io
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.embedded.firestore import archive as archive_command
from infra.embedded.firestore import messages as m
from infra.embedded.firestore.data_file import restore
from tests.infra.firestore.server_process import DATABASE, ROOT, FirestoreProcess


def write(firestore: FirestoreProcess, first: int, count: int = 60) -> None:
    """Write documents."""
    writes = [m.Write(update=m.Document(name=f"{ROOT}/t/{number}")) for number in range(first, first + count)]
    for each in writes:
        each.update.fields["text"].string_value = "x" * 500
    firestore.call("BatchWrite", m.BatchWriteRequest(database=DATABASE, writes=writes), m.BatchWriteResponse)


def log_of(path: Path) -> Path:
    """Return the path of the write-ahead log."""
    return path.with_name(path.name + "-wal")


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a server that wrote 60 documents and was stopped."""
    firestore = FirestoreProcess(tmp_path_factory.mktemp("ended"))
    firestore.start()
    write(firestore, 0)
    firestore.end()
    firestore.close()
    return firestore.data.parent


@pytest.fixture(scope="module")
def killed(ended: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a server that wrote 60 documents, was started again, wrote 60 more and was killed.

    The latter are in the log only. `backup.sqlite` has all documents.
    """
    firestore = FirestoreProcess(tmp_path_factory.mktemp("killed"))
    use(firestore, ended)
    firestore.start()
    write(firestore, 100)
    archive("backup", "--data", firestore.data, "--output", firestore.data.with_name("backup.sqlite"))
    firestore.end(signal.SIGKILL)
    firestore.close()
    return firestore.data.parent


def use(firestore: FirestoreProcess, folder: Path) -> None:
    """Let a server use a copy of the data in `folder`."""
    shutil.copytree(folder, firestore.data.parent, dirs_exist_ok=True)


def archive(*arguments: str | Path, code: int = 0) -> str:
    """Run a command of the archive in this process, and return what it prints."""
    output = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
    ):
        patch.setattr("sys.argv", ["archive", *map(str, arguments)])
        assert archive_command.main() == code, output.getvalue()
    return output.getvalue()


def refusal(firestore: FirestoreProcess) -> str:
    """Start the server, which must refuse the file. Return its message, which is one line with the name of the file."""
    with pytest.raises(AssertionError):
        firestore.start()
    (line,) = firestore.log.read_text().splitlines()
    assert str(firestore.data) in line
    return line


def _delete(path: Path) -> None:
    path.unlink()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


def _overwrite(path: Path) -> None:
    path.write_text("This is not a database. " * 1000)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_delete, "is missing, but firestore.sqlite.marker says that it had data"),
        (_empty, "is empty, but firestore.sqlite.marker says that it had data"),
        (_halve, "is truncated"),
        (_shorten, "is truncated"),
        (_overwrite, "is not an SQLite database, or its first bytes are damaged"),
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


@pytest.mark.parametrize("damage", [_delete, _empty, _halve])
@pytest.mark.parametrize("starts", [1, 2])
def test_a_log_that_is_lost_after_a_crash_is_noticed(
    own: FirestoreProcess, killed: Path, damage: Callable[[Path], None], starts: int
) -> None:
    """Its commits were acknowledged. The operator can accept the loss."""
    if starts == 1:
        own.start()
        write(own, 0)
        own.end(signal.SIGKILL)
    else:
        use(own, killed)
    damage(log_of(own.data))

    line = refusal(own)
    assert f"archive accept-loss --data {own.data}" in line
    assert "contains no data" in line or "ends at change" in line

    archive("accept-loss", "--data", own.data)
    own.start()
    write(own, 1000)
    assert len(list(own.client().collection("t").stream())) >= 60 * (starts - 1) + 60


def test_a_log_that_another_program_has_applied_is_not_missing(own: FirestoreProcess) -> None:
    """SQLite deletes the log when the last connection is closed."""
    own.start()
    write(own, 0)
    own.end(signal.SIGKILL)
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


@pytest.mark.parametrize("is_backup", [True, False])
def test_an_older_copy_next_to_a_newer_log_is_refused(own: FirestoreProcess, ended: Path, is_backup: bool) -> None:
    """SQLite would apply the log to it and destroy it. `restore` moves file and log aside."""
    copy = own.data.with_name("copy.sqlite")
    use(own, ended)
    if is_backup:
        archive("backup", "--data", own.data, "--output", copy)
    else:
        shutil.copy(own.data, copy)
    for first in (1000, 2000):
        own.start()
        write(own, first, 300)
        own.end(signal.SIGTERM if first == 1000 else signal.SIGKILL)
    log = log_of(own.data).read_bytes()
    shutil.copy(copy, own.data)

    line = refusal(own)

    assert "belong" in line or "ends at change" in line
    assert log_of(own.data).read_bytes() == log, "the log is kept for a repair"
    message = archive("restore", copy, "--data", own.data)
    own.start()
    assert len(list(own.client().collection("t").stream())) == 60
    former = Path(message.rpartition("the former file is ")[2].strip())
    assert log_of(former).read_bytes() == log


def test_an_older_copy_in_place_of_the_file_is_refused_until_it_is_restored(own: FirestoreProcess, ended: Path) -> None:
    """The marker has a later change."""
    copy = own.data.with_name("copy.sqlite")
    use(own, ended)
    own.start()
    archive("backup", "--data", own.data, "--output", copy)
    write(own, 100)
    own.end()
    shutil.copy(copy, own.data)

    assert "ends at change 60, but change 120 was committed" in refusal(own)
    archive("restore", copy, "--data", own.data)

    own.start()
    write(own, 200)


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


def test_a_restore_that_was_interrupted_does_not_start_empty(own: FirestoreProcess, ended: Path) -> None:
    """The marker stays until the end, so the next start names the command to repeat."""
    backup = own.data.with_name("backup.sqlite")
    use(own, ended)
    archive("backup", "--data", own.data, "--output", backup)
    own.data.rename(own.data.with_name("moved-by-an-interrupted-restore"))
    own.data.with_name("firestore.sqlite.restored").write_bytes(b"unfinished")

    assert "is missing" in refusal(own)
    archive("restore", backup, "--data", own.data)

    own.start()
    assert len(list(own.client().collection("t").stream())) == 60


class Killed(BaseException):
    """Ends a restore between two steps."""


@pytest.mark.parametrize("renamed", [1, 2, 3, 4])
def test_a_restore_that_ended_after_any_step_is_refused_until_it_is_repeated(
    own: FirestoreProcess, killed: Path, monkeypatch: pytest.MonkeyPatch, renamed: int
) -> None:
    """Also if the marker is damaged: the file without its log would otherwise start, and lack acknowledged writes."""
    use(own, killed)
    backup = own.data.with_name("backup.sqlite")
    own.data.with_name("firestore.sqlite.marker").write_text("damaged")
    done: list[Path] = []
    replace = Path.replace

    def replace_or_end(source: Path, target: Path) -> Path:
        if len(done) == renamed:
            raise Killed
        done.append(target)
        return replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replace_or_end)
        with pytest.raises(Killed):
            restore.restore(backup, own.data)

    refusal(own)
    archive("restore", backup, "--data", own.data)
    own.start()
    assert len(list(own.client().collection("t").stream())) == 120


@pytest.mark.parametrize("damage", [_empty, _halve, _overwrite])
def test_a_damaged_backup_is_not_restored(own: FirestoreProcess, ended: Path, damage: Callable[[Path], None]) -> None:
    """The present file stays."""
    backup = own.data.with_name("backup.sqlite")
    use(own, ended)
    archive("backup", "--data", own.data, "--output", backup)
    damage(backup)

    assert "the backup" in archive("restore", backup, "--data", own.data, code=1)

    assert not own.data.with_name("firestore.sqlite.restored").exists()
    own.start()
    assert len(list(own.client().collection("t").stream())) == 60


def test_a_running_server_prevents_a_restore(own: FirestoreProcess, ended: Path) -> None:
    """And accepting a loss."""
    use(own, ended)
    own.start()
    backup = own.data.with_name("backup.sqlite")
    archive("backup", "--data", own.data, "--output", backup)

    assert "is in use by another process" in archive("restore", backup, "--data", own.data, code=1)
    assert "is in use by another process" in archive("accept-loss", "--data", own.data, code=1)
