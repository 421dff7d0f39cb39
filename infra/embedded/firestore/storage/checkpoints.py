"""Checkpoints: a separate thread copies SQLite's write-ahead log into the database file.

SQLite's automatic checkpoint runs inside a commit. Under load, this commit and all requests that waited for the commit
took 40 to 58 ms longer (docs/performance.md). The writer and the readers do not wait for the checkpoint thread.

Note: a passive checkpoint does not reset the log under continuous load. SQLite's automatic checkpoint resets the log at
`MAX_LOG_PAGES`. It then has few pages to copy, because this thread has copied most pages before.
"""

import logging
import sqlite3
import threading

MAX_LOG_PAGES = 16_000
MIN_CHANGED_ROWS = 4_000
"""A checkpoint starts after this number of changed rows, because it costs two disk flushes."""

logger = logging.getLogger(__name__)


class Checkpointer:
    """A thread that runs checkpoints until `close` is called. It owns `connection` and closes it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._checkpointed_rows = 0
        self._due = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="firestore-checkpoints")
        self._thread.start()

    def report_changed_rows(self, total: int) -> None:
        """Start a checkpoint if enough rows have changed. `total` is the number since the file was opened."""
        if total - self._checkpointed_rows >= MIN_CHANGED_ROWS:
            self._checkpointed_rows = total
            self._due.set()

    def close(self) -> None:
        """Wait until a running checkpoint has finished, and stop the thread."""
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
