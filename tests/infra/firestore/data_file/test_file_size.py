"""How much of a data file is unused is read from its header, without a query that waits for other queries."""

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from infra.embedded.firestore.data_file.file_check import unused_bytes


@pytest.mark.parametrize("page_size", [512, 4_096, 65_536])
def test_unused_bytes_are_those_that_sqlite_counts(tmp_path: Path, page_size: int) -> None:
    """The header stores the size of the largest pages as 1."""
    path = tmp_path / "file.sqlite"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {page_size}")
        connection.execute("CREATE TABLE a (data BLOB)")
        connection.executemany("INSERT INTO a VALUES (?)", [(bytes(100_000),)] * 5)
        descriptor = os.open(path, os.O_RDONLY)
        assert unused_bytes(descriptor) == 0
        connection.execute("DELETE FROM a WHERE rowid > 2")
        (unused,) = connection.execute("PRAGMA freelist_count").fetchone()

    assert unused_bytes(descriptor) == unused * page_size >= 200_000
    os.close(descriptor)
