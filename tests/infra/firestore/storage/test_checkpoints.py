"""Checkpoints copy the write-ahead log into the data file while writing continues."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from infra.embedded.firestore.storage import checkpoints
from infra.embedded.firestore.storage.checkpoints import MIN_CHANGED_ROWS, Checkpointer
from infra.embedded.firestore.storage.storage import Storage
from tests.infra.firestore.server_process import FirestoreProcess
from tests.stack import eventually


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A connection with a table and without automatic checkpoints."""
    connection = sqlite3.connect(tmp_path / "file", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("CREATE TABLE numbers (number)")
    yield connection
    connection.close()


def no_limit(pages: int) -> None:
    """Do not restart the log."""
    del pages


def add(writer: sqlite3.Connection, rows: int) -> int:
    """Insert rows, and return how many rows the connection has changed in total."""
    writer.executemany("INSERT INTO numbers VALUES (?)", ((number,) for number in range(rows)))
    return writer.total_changes


def test_checkpoints_continue_after_one_that_lacked_memory(
    tmp_path: Path, writer: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread tries again. Otherwise, each later checkpoint would run in a commit."""
    file = tmp_path / "file"
    attempts: list[int] = []

    def lack_memory_once(pages: int) -> None:
        attempts.append(pages)
        if len(attempts) == 1:
            raise MemoryError

    with closing(Checkpointer(sqlite3.connect(file, check_same_thread=False), file, lack_memory_once)) as checkpointer:
        checkpointer.report_changed_rows(add(writer, MIN_CHANGED_ROWS))

        eventually(lambda: "Checkpoints succeed again" in caplog.text)

    assert "Checkpoints fail and are retried until they succeed: too little memory" in caplog.text


def test_a_checkpoint_runs_beside_a_transaction(tmp_path: Path, writer: sqlite3.Connection) -> None:
    """After enough changed rows, and then again, although a write transaction is open."""
    file = tmp_path / "file"
    with closing(Checkpointer(sqlite3.connect(file, check_same_thread=False), file, no_limit)) as checkpointer:
        sizes = [file.stat().st_size]
        for _ in range(2):
            writer.execute("BEGIN")
            rows = add(writer, MIN_CHANGED_ROWS)
            writer.execute("COMMIT")
            writer.execute("BEGIN IMMEDIATE")

            checkpointer.report_changed_rows(rows)

            eventually(lambda: file.stat().st_size > sizes[-1])
            writer.execute("COMMIT")
            sizes.append(file.stat().st_size)


class UnreliableConnection:
    """A connection whose statements fail while `is_broken`."""

    def __init__(self) -> None:
        self.is_broken = True
        self.attempts = 0

    def execute(self, statement: str) -> "UnreliableConnection":
        """Execute a statement."""
        del statement
        self.attempts += 1
        if self.is_broken:
            raise sqlite3.OperationalError("on purpose")
        return self

    def fetchone(self) -> tuple[int, int, int]:
        """Return the result of a checkpoint of an empty log."""
        return 0, 0, 0

    def fetchall(self) -> list[Any]:
        """Return no rows."""
        return []

    def close(self) -> None:
        """Do nothing."""


def test_a_failed_checkpoint_is_retried_without_another_write(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commits may fail until a checkpoint succeeds. A line is logged at the first failure and at the success."""
    monkeypatch.setattr(checkpoints, "RETRY_SECONDS", 0.01)
    connection: Any = UnreliableConnection()
    with (
        caplog.at_level(logging.WARNING),
        closing(Checkpointer(connection, tmp_path / "file", no_limit)) as checkpointer,
    ):
        checkpointer.report_changed_rows(MIN_CHANGED_ROWS)
        eventually(lambda: connection.attempts > 3)
        connection.is_broken = False
        eventually(lambda: len(caplog.records) == 2)

    assert [record.getMessage() for record in caplog.records] == [
        "Checkpoints fail and are retried until they succeed: on purpose",
        "Checkpoints succeed again",
    ]


def test_a_server_checkpoints_its_file(own: FirestoreProcess) -> None:
    """Long before the log reaches its maximum length."""
    own.start()
    client = own.client()
    size = own.data.stat().st_size
    for number in range(20):
        batch = client.batch()
        for index in range(100):
            batch.set(client.document(f"numbers/{number}-{index}"), {"number": index, "text": "x" * 100})
        batch.commit()

    eventually(lambda: own.data.stat().st_size > size + 100_000)


@pytest.mark.parametrize("size", ["31", "large"])
def test_a_size_of_the_log_that_cannot_be_kept_is_refused(own: FirestoreProcess, size: str) -> None:
    """The message says in one line what is expected. It was the usage of the command, which names no variable."""
    own.options = ["--max-wal-mib", size]

    with pytest.raises(AssertionError, match=f"expected a whole number from 32 to 1024, got '{size}'"):
        own.start()

    (line,) = own.log.read_text().splitlines()
    assert line.startswith("error: argument --max-wal-mib: ")
    assert line.endswith("the variable of `make run` is DROPZONE_FIRESTORE_MAX_WAL_MIB")


async def test_a_write_succeeds_while_the_size_of_the_file_is_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit needs no checkpoint, and the checkpoints continue later."""
    storage = Storage(tmp_path / "file")

    def fail(*_: object) -> bool:
        raise OSError("the disk does not respond")

    def checkpointed_pages(connection: sqlite3.Connection) -> int:
        return int(connection.execute("PRAGMA wal_autocheckpoint").fetchone()[0])

    try:
        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, "has_room", fail)
            await storage.execute(lambda connection: connection.execute("CREATE TABLE numbers (number)") and None)
            assert await storage.write(lambda group: checkpointed_pages(group.connection)) == 0
        await storage.execute(lambda connection: connection.execute("DROP TABLE numbers") and None)
        assert await storage.write(lambda group: checkpointed_pages(group.connection)) > 0
    finally:
        await storage.close()


async def test_the_log_is_restarted_although_readers_overlap(tmp_path: Path) -> None:
    """Measured at 10 MiB a second with four readers: the log has up to 33 MiB, and without restarts 68 MiB."""
    storage = Storage(tmp_path / "file", max_log_bytes=4 * 1024 * 1024)
    is_done = False

    async def read() -> None:
        while not is_done:
            await storage.read(lambda connection: time.sleep(0.002 * len(connection.execute("SELECT 1").fetchall())))

    async def restarts() -> int:
        """Write, and return how often the log was restarted: a number in its header."""
        await storage.execute(_write_rows)
        return int.from_bytes((tmp_path / "file-wal").read_bytes()[12:16])

    await storage.execute(lambda connection: connection.execute("CREATE TABLE numbers (number)") and None)
    readers = [asyncio.create_task(read()) for _ in range(4)]
    async with asyncio.timeout(60):
        while await restarts() < 3:
            pass
    is_done = True
    await asyncio.gather(*readers)
    await storage.close()


def _write_rows(connection: sqlite3.Connection) -> None:
    connection.executemany("INSERT INTO numbers VALUES (?)", ((bytes(1_000),) for _ in range(MIN_CHANGED_ROWS // 4)))
