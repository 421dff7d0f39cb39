"""Checkpoints: copying SQLite's write-ahead log into the database file, on a thread of its own.

SQLite's automatic checkpoint runs inside a commit. Under load that commit and all requests that wait for it took 40 to
58 ms longer (docs/performance.md). Neither the writer nor readers wait for this thread and its connection.

Note: under continuous load the log never becomes empty, so a passive checkpoint never resets it. SQLite's automatic
checkpoint resets it at `MAX_LOG_PAGES`, and has little left to copy by then.
"""

import logging
import sqlite3
import threading

MAX_LOG_PAGES = 16_000
MIN_CHANGED_ROWS = 4_000
"""Changed rows after which a checkpoint is worth its two disk flushes. Each row may have changed a page."""

logger = logging.getLogger(__name__)


class Checkpointer:
    """The thread, running until it is closed. It owns its connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._checkpointed_rows = 0
        self._due = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="firestore-checkpoints")
        self._thread.start()

    def report_changed_rows(self, total: int) -> None:
        """Start a checkpoint if enough rows have changed. `total` counts the changed rows since the file was opened."""
        if total - self._checkpointed_rows >= MIN_CHANGED_ROWS:
            self._checkpointed_rows = total
            self._due.set()

    def close(self) -> None:
        """Finish a running checkpoint and stop."""
        self._closed = True
        self._due.set()
        self._thread.join()

    def _run(self) -> None:
        while self._due.wait() and not self._closed:
            self._due.clear()
            try:
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            except sqlite3.Error as error:
                logger.warning("The checkpoint failed and will be retried: %s", error)
        self._connection.close()
