"""Connections to the data file. A commit is on disk when it returns."""

import sqlite3
from pathlib import Path

CACHE_KIB = 16 * 1024
CACHED_STATEMENTS = 128
"""The prepared statements that a connection caches. Merges of entry tables add new statements all the time."""


def connect(path: Path, max_log_bytes: int, *, mode: str = "rwc") -> sqlite3.Connection:
    """Open the file. With the mode `rw`, do not create it if it was moved.

    SQLite makes no checkpoints itself (see `AutomaticCheckpoints`). After a checkpoint, it shortens the write-ahead log
    to `max_log_bytes`.
    """
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=CACHED_STATEMENTS,
        timeout=30,
    )
    limits = f"journal_size_limit = {max_log_bytes}", f"cache_size = -{CACHE_KIB}", "mmap_size = 0"
    for setting in ("synchronous = FULL", "wal_autocheckpoint = 0", *limits):
        connection.execute(f"PRAGMA {setting}")
    return connection
