"""A disk that fails to store pages: Linux reports this once, at a flush, and never writes these pages again."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.embedded.firestore import errors
from infra.embedded.firestore import messages as m
from infra.embedded.firestore.indexes import entry_merges
from infra.embedded.firestore.storage import checkpoints
from infra.embedded.firestore.storage.checkpoints import AutomaticCheckpoints
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes import commits, document_write
from tests.infra.firestore.server_process import DATABASE, ROOT

DESCRIPTORS = Path("/proc/self/fd")
pytestmark = pytest.mark.skipif(not DESCRIPTORS.exists(), reason="only Linux lists the files that a process has open")
FRAME_BYTES = 24 + 4096
"""A page in the log, with its header."""


def log_of(storage: Storage) -> Path:
    """Return the path of the write-ahead log."""
    return storage.path.with_name(storage.path.name + "-wal")


async def put(storage: Storage, number: int) -> None:
    """Store a document."""
    document = m.Document(name=f"{ROOT}/t/{number}")
    document.fields["n"].integer_value = number
    write = document_write.prepare(m.Write(update=document), DATABASE)
    await storage.write(lambda group: commits.commit(group, [write], commits.no_conflicts))


async def merge(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the writer merge index entries after a commit that changes nothing."""
    with monkeypatch.context() as patch:
        patch.setattr(entry_merges, "MAX_OPEN_ENTRIES", 1)
        patch.setattr(entry_merges, "MIN_CHANGED_ROWS", 1)
        await storage.write(lambda group: None)
        await storage.write(lambda group: None)  # starts after the merge


@contextlib.contextmanager
def failing_flushes(log: Path) -> Iterator[None]:
    """Let flushes of the log fail: the null device accepts writes, but cannot be flushed."""
    opened = [int(each.name) for each in DESCRIPTORS.iterdir() if each.is_symlink() and each.readlink() == log]
    null = os.open(os.devnull, os.O_RDWR)
    copies = [os.dup(descriptor) for descriptor in opened]
    for descriptor in opened:
        os.dup2(null, descriptor)
    yield
    for descriptor, copy in zip(opened, copies, strict=True):
        os.dup2(copy, descriptor)
        os.close(copy)
    os.close(null)


def cut_power(storage: Storage, folder: Path, lost: range, before: bytes) -> Path:
    """Copy the file and its log as a power failure leaves them, and return the path of the copy.

    The disk has nothing of the frames in `lost` that are the same as in `before`: nothing has written them again.
    """
    folder.mkdir()
    for each in (storage.path, storage.path.with_name(storage.path.name + ".marker")):
        shutil.copy(each, folder)
    log = bytearray(log_of(storage).read_bytes())
    for start in range(lost.start, lost.stop, FRAME_BYTES):
        end = start + FRAME_BYTES
        if log[start:end] == before[start:end]:
            log[start:end] = bytes(FRAME_BYTES)
    copy = folder / storage.path.name
    copy.with_name(copy.name + "-wal").write_bytes(log)
    return copy


async def stored(path: Path) -> int:
    """Return the number of documents of a file."""
    storage = Storage(path)
    (count,) = await storage.read(lambda connection: connection.execute("SELECT count(*) FROM documents").fetchone())
    await storage.close()
    return int(count)


async def test_commits_after_a_failed_flush_survive_a_power_failure(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pages that were lost can be those of a merge. No later flush includes them."""
    for number in range(10):
        await put(storage, number)
    flushed = log_of(storage).stat().st_size
    await merge(storage, monkeypatch)
    before = log_of(storage).read_bytes()
    with failing_flushes(log_of(storage)), pytest.raises(sqlite3.OperationalError) as refused:
        await put(storage, 10)
    for number in range(11, 20):
        await put(storage, number)

    copy = cut_power(storage, tmp_path / "copy", range(flushed, len(before), FRAME_BYTES), before)

    assert flushed < len(before)
    assert errors.from_exception(refused.value).message == "The disk failed; nothing was written."
    assert await stored(copy) == 19


def refuse_flushes(action: int, name: str | None, value: str | None, *_: str | None) -> int:
    """Refuse to turn on the flushes of a connection. SQLite does so if it cannot read the file at this moment."""
    is_refused = (action, name, value) == (sqlite3.SQLITE_PRAGMA, "synchronous", "FULL")
    return sqlite3.SQLITE_DENY if is_refused else sqlite3.SQLITE_OK


async def test_no_commit_runs_while_flushes_cannot_be_turned_on_after_a_merge(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commits were acknowledged without a flush until the next merge."""
    for number in range(10):
        await put(storage, number)
    connection = await storage.execute(lambda connection: connection)
    await storage.write(lambda group: connection.set_authorizer(refuse_flushes))

    with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
        await merge(storage, monkeypatch)
    with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
        await put(storage, 10)

    connection.set_authorizer(None)
    await put(storage, 10)
    assert await storage.write(lambda group: connection.execute("PRAGMA synchronous").fetchone()) == (2,)


async def test_a_merge_does_not_copy_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite ignores failures of a checkpoint in a commit. A failed flush would stay unknown."""
    storage = Storage(tmp_path / "firestore.sqlite", max_log_bytes=5 * FRAME_BYTES)
    for number in range(10):
        await put(storage, number)
    before = storage.path.read_bytes(), log_of(storage).read_bytes()
    await merge(storage, monkeypatch)
    merged = storage.path.read_bytes(), log_of(storage).read_bytes()
    await put(storage, 10)
    committed = storage.path.read_bytes()
    await storage.close()

    assert merged[0] == before[0]
    assert merged[1] != before[1]
    assert committed != before[0]


def test_a_commit_waits_until_the_log_is_restarted_after_a_restart_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its flush reports the lost pages in place of the flush of the commit. A read that needs the log delays this.

    The log and the error name the read.
    """
    monkeypatch.setattr(checkpoints, "NEXT_COMMIT_SECONDS", 0)
    log = tmp_path / "file-wal"
    with (
        contextlib.closing(sqlite3.connect(tmp_path / "file", isolation_level=None)) as writer,
        contextlib.closing(sqlite3.connect(tmp_path / "file", isolation_level=None)) as reader,
    ):
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE numbers (number)")
        automatic = AutomaticCheckpoints(writer, tmp_path / "file", checkpoints.MAX_LOG_BYTES)
        automatic.limit_log(checkpoints.MAX_LOG_BYTES)
        with failing_flushes(log):
            automatic.restart_log()
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM numbers").fetchall()
        writer.execute("INSERT INTO numbers VALUES (1)")
        before = restarts(log)

        for _ in range(2):
            with pytest.raises(sqlite3.OperationalError) as refused:
                automatic.complete_log()
        reader.execute("COMMIT")
        automatic.complete_log()

        writer.execute("INSERT INTO numbers VALUES (2)")
        assert restarts(log) == before + 1
        message = "The disk failed, and a read, such as a backup, needs the write-ahead log; nothing was written."
        assert errors.from_exception(refused.value).message == message
        assert caplog.text.count("a read, such as a backup, needs the write-ahead log") == 1


HOLD_CHECKPOINT_LOCK = """
import fcntl, sys
with open(sys.argv[1], "r+b") as index:
    fcntl.lockf(index, fcntl.LOCK_EX, 1, 121)
    print("locked", flush=True)
    sys.stdin.read()
"""
"""SQLite documents this position: https://www.sqlite.org/walformat.html"""


def test_a_checkpoint_that_delays_the_restart_of_the_log_is_not_called_a_read(tmp_path: Path) -> None:
    """An operator would search for a backup that does not run."""
    log = tmp_path / "file-wal"
    with contextlib.closing(sqlite3.connect(tmp_path / "file", isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE numbers (number)")
        automatic = AutomaticCheckpoints(writer, tmp_path / "file", checkpoints.MAX_LOG_BYTES)
        with failing_flushes(log), pytest.raises(sqlite3.OperationalError) as failed:
            writer.execute("PRAGMA wal_checkpoint(RESTART)")
        automatic.report_failure(failed.value)
        command = [sys.executable, "-c", HOLD_CHECKPOINT_LOCK, str(tmp_path / "file-shm")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"locked\n"

            with pytest.raises(sqlite3.OperationalError, match="another checkpoint runs"):
                automatic.complete_log()
            process.communicate()

        automatic.complete_log()


def restarts(log: Path) -> int:
    """Return how often a log was restarted: a number in its header."""
    return int.from_bytes(log.read_bytes()[12:16])
