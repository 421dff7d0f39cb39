"""A start that was killed while it created the write-ahead log: the next start undoes the change that it began.

Such a start leaves a rollback journal. SQLite refused to read the file without permission to undo this change.
"""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.firestore.data_file.data_files import archive, end_restore, refusal, write
from tests.infra.firestore.server_process import FirestoreProcess

KILLED = """
import os, signal, sqlite3, sys

connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN")
connection.execute("CREATE TABLE unfinished (value)")
connection.executemany("INSERT INTO unfinished VALUES (?)", [(bytes(1000),)] * 100)
os.kill(os.getpid(), signal.SIGKILL)
"""
"""A program that is killed in a transaction with a rollback journal, after it has changed pages of the file."""


def kill_start(path: Path) -> None:
    """Leave a file as a killed start does."""
    process = subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    assert process.returncode == -signal.SIGKILL
    assert journal_of(path).exists()
    assert path.stat().st_size > 0


def journal_of(path: Path) -> Path:
    """Return the path of the rollback journal."""
    return path.with_name(path.name + "-journal")


@pytest.fixture
def backup(ended: Path, tmp_path: Path) -> Path:
    """A backup with 60 documents."""
    backup = tmp_path / "backups" / "backup.sqlite"
    backup.parent.mkdir()
    archive("backup", "--data", ended / "firestore.sqlite", "--output", backup)
    return backup


@pytest.fixture(params=["new", "restored"])
def interrupted(own: FirestoreProcess, backup: Path, request: pytest.FixtureRequest) -> FirestoreProcess:
    """A server whose first start with a new or a restored file was killed."""
    if request.param == "restored":
        archive("restore", backup, "--data", own.data)
    kill_start(own.data)
    return own


def documents(firestore: FirestoreProcess) -> int:
    """Start the server, write 60 documents with other names, and return the number of all documents."""
    firestore.start()
    write(firestore, 1000)
    return len(list(firestore.client().collection("t").stream()))


def test_the_next_start_succeeds(interrupted: FirestoreProcess) -> None:
    """Before, every start failed, and the supervisor started the server again forever."""
    existing = 60 if interrupted.data.with_name("firestore.sqlite.marker").exists() else 0

    assert documents(interrupted) == existing + 60
    assert archive("check", "--data", interrupted.data) == "no problems found\n"


def test_a_restore_is_complete(interrupted: FirestoreProcess, backup: Path) -> None:
    """SQLite applied the rollback journal of the former file to the backup: it became empty, or was damaged."""
    journal = journal_of(interrupted.data).read_bytes()

    message = archive("restore", backup, "--data", interrupted.data)

    former = Path(message.rpartition("the former file is ")[2].strip())
    assert journal_of(former).read_bytes() == journal, "the former file can be read only with its journal"
    assert documents(interrupted) == 120
    assert archive("check", "--data", interrupted.data) == "no problems found\n"


@pytest.mark.parametrize("renamed", [2, 3])
def test_the_content_before_an_interrupted_restore_can_be_accepted(
    own: FirestoreProcess, ended: Path, backup: Path, monkeypatch: pytest.MonkeyPatch, renamed: int
) -> None:
    """It needs its rollback journal, which the restore has renamed."""
    archive("restore", backup, "--data", own.data)
    kill_start(own.data)
    end_restore(ended / own.data.name, own.data, renamed, monkeypatch)
    refusal(own)

    archive("accept-loss", "--data", own.data)

    assert documents(own) == 120
    assert archive("check", "--data", own.data) == "no problems found\n"


def test_an_import_is_complete(own: FirestoreProcess, ended: Path) -> None:
    """Also if the killed start had not yet written to the file: SQLite made the imported file empty."""
    lines = archive("export", "--data", ended / "firestore.sqlite").rpartition("exported")[0]
    path = own.data.with_name("lines")
    path.write_text(lines)
    kill_start(own.data)
    own.data.write_bytes(b"")

    with path.open() as source, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", source)
        archive("import", "--data", own.data)

    assert documents(own) == 120
