"""What is in the log comes into the file while writing goes on."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from infra.embedded.firestore.storage.checkpoints import MIN_CHANGED_ROWS, Checkpointer
from tests.infra.firestore.server_process import FirestoreProcess
from tests.stack import eventually


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A connection with a table, which leaves its log alone."""
    connection = sqlite3.connect(tmp_path / "file", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("CREATE TABLE numbers (number)")
    yield connection
    connection.close()


def add(writer: sqlite3.Connection, rows: int) -> int:
    """Add so many rows, and return how many changed all in all."""
    writer.executemany("INSERT INTO numbers VALUES (?)", ((number,) for number in range(rows)))
    return writer.total_changes


def test_the_log_is_emptied_beside_the_writer(tmp_path: Path, writer: sqlite3.Connection) -> None:
    """Once enough has changed, and then again, though a transaction is under way."""
    file = tmp_path / "file"
    with closing(Checkpointer(sqlite3.connect(file, check_same_thread=False))) as checkpointer:
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


def test_a_failure_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """And the next one is tried all the same."""
    closed = sqlite3.connect(":memory:", check_same_thread=False)
    closed.close()
    with caplog.at_level(logging.WARNING), closing(Checkpointer(closed)) as checkpointer:
        checkpointer.report_changed_rows(MIN_CHANGED_ROWS)
        eventually(lambda: len(caplog.records) == 1)
        checkpointer.report_changed_rows(2 * MIN_CHANGED_ROWS)
        eventually(lambda: len(caplog.records) == 2)

    assert "The checkpoint failed" in caplog.text


def test_a_server_brings_what_is_written_into_its_file(own: FirestoreProcess) -> None:
    """Long before the log is as long as it may become."""
    own.start()
    client = own.client()
    size = own.data.stat().st_size
    for number in range(20):
        batch = client.batch()
        for place in range(100):
            batch.set(client.document(f"numbers/{number}-{place}"), {"number": place, "text": "x" * 100})
        batch.commit()

    eventually(lambda: own.data.stat().st_size > size + 100_000)
