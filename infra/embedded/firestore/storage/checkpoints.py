"""Brings what is in SQLite's log into its file, beside the writer.

SQLite does so itself, inside the commit after which the log is long: that commit, and all who wait for it, took 40 to
58 ms under load (docs/performance.md). Here a thread of its own does it, on a connection of its own, which neither
writer nor readers wait for. The trap: under a load that never pauses there is always something in the log that is
newer, and so it is never begun anew; that is left to SQLite, which at `MAX_LOG_PAGES` has little left to do.
"""

import logging
import sqlite3
import threading

MAX_LOG_PAGES = 16_000
ROWS = 4_000
"""After so many changed rows, each of which may have changed a page, a checkpoint is worth its two flushes."""

logger = logging.getLogger(__name__)


class Checkpoints:
    """The thread, at work until it is closed. The connection becomes its own."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rows = 0
        self._due = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="firestore-checkpoints")
        self._thread.start()

    def committed(self, rows: int) -> None:
        """Take note that so many rows were changed, all in all."""
        if rows - self._rows >= ROWS:
            self._rows = rows
            self._due.set()

    def close(self) -> None:
        """Finish what is under way."""
        self._closed = True
        self._due.set()
        self._thread.join()

    def _run(self) -> None:
        while self._due.wait() and not self._closed:
            self._due.clear()
            try:
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            except sqlite3.Error as error:
                logger.warning("The log was not brought into the file, which is tried again: %s", error)
        self._connection.close()
