"""Checkpoints: a separate thread copies SQLite's write-ahead log into the data file.

SQLite's automatic checkpoint runs inside a commit. Under load, this commit and all requests that waited for the commit
took 40 to 58 ms longer. The writer and the readers do not wait for the checkpoint thread.

Note: if readers overlap, a passive checkpoint does not reset the write-ahead log, so this file would grow without a
limit. If the write-ahead log has more than half of its maximum size, the writer therefore restarts it after a commit.
The writer copies the few remaining pages, and waits for at most `RESTART_SECONDS` until the current readers have
finished. The next commit then starts at the beginning of the write-ahead log. The checkpoint thread cannot do this,
because it would need a gap between commits. Under full load, commits leave no gap.

Note: a checkpoint that fails because the disk is full has used all free space, and the write-ahead log is as long as
before. Therefore, no checkpoint starts if the disk has too little space to copy the whole write-ahead log into the
data file. New commits can then use the remaining space, and space that an operator frees.

Note: Linux reports once that it cannot write pages to the disk, and then treats these pages as written. After a failed
flush, the write-ahead log on the disk can therefore lack a merge of index entries, which no flush of its own stores. A
power failure would lose this merge and all later commits. Before the next commit, the writer therefore copies the
write-ahead log, which is complete in the page cache, into the data file, and restarts it.
"""

import logging
import math
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

from infra.embedded.firestore import metrics
from infra.embedded.firestore.data_file.reserve_file import free_bytes
from infra.embedded.firestore.errors import IncompleteLog

MAX_LOG_BYTES = 64 * 1024 * 1024
"""The default maximum. Each commit copies a log of three quarters of this size. The rest is for that commit."""
RESTART_SECONDS = 0.1
NEXT_COMMIT_SECONDS = 0.5
MIN_RESTART_PAUSE_SECONDS = 0.25
MAX_RESTART_PAUSE_SECONDS = 5.0
"""The maximum pause after a restart that failed because a read needs the log. The pauses double during a long read."""
MIN_CHANGED_ROWS = 4_000
"""A checkpoint starts after this number of changed rows, because it costs two disk flushes."""
RETRY_SECONDS = 1.0
"""The pause before the next attempt after a checkpoint failed or could not start."""
PLENTY_BYTES = 4 * 1024 * 1024 * 1024
"""With this free space, a checkpoint always has enough space, because the write-ahead log is smaller."""
SLACK_BYTES = 4 * 1024 * 1024
"""The space that must remain, for example for the commit that is being written to the log."""

logger = logging.getLogger(__name__)


def has_room(connection: sqlite3.Connection, path: Path) -> bool:
    """Return whether the disk can hold all pages of the log in the data file `path`."""
    free = free_bytes(path.parent)
    if free >= PLENTY_BYTES:
        return True
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    growth = int(pages) * _page_size(connection) - path.stat().st_size
    return growth <= 0 or growth + SLACK_BYTES <= free


def _page_size(connection: sqlite3.Connection) -> int:
    """Return the size of a page of the data file, in bytes."""
    return int(connection.execute("PRAGMA page_size").fetchone()[0])


class AutomaticCheckpoints:
    """The checkpoints of the writer: SQLite's automatic checkpoint in commits, and restarts of the log.

    The automatic checkpoint is off while the disk has too little space for it.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, max_log_bytes: int) -> None:
        self._connection = connection
        self._path = path
        pages = max_log_bytes // _page_size(connection)
        self._restarted_pages, self._copied_pages = pages // 2, pages * 3 // 4
        self.is_on = True
        """Whether the disk has room for a checkpoint."""
        self._is_restart_due = False
        self._is_log_complete = True
        """Whether the disk has the whole log. Only a failed flush makes this uncertain."""
        self._logged_obstacles: set[str] = set()
        """What prevented the restart since the last failed flush. Each obstacle is logged once."""
        self._restarted = threading.Event()
        self._no_restart_before = -math.inf
        self._pause = MIN_RESTART_PAUSE_SECONDS
        connection.execute(f"PRAGMA wal_autocheckpoint = {self._copied_pages}")

    def adjust(self) -> None:
        """Turn the checkpoint on or off for the next commit."""
        try:
            is_possible = has_room(self._connection, self._path)
        except OSError:  # a failing disk, which SQLite reports if the commit needs it
            is_possible = False
        if is_possible is not self.is_on:
            self.is_on = not self.is_on
            self._connection.execute(f"PRAGMA wal_autocheckpoint = {self._copied_pages if self.is_on else 0}")

    def limit_log(self, pages: int) -> None:
        """If the log has more than half of its maximum size, let the writer restart it after its next commit.

        Two checkpoints cannot run at the same time, so the checkpoint thread waits, at most `NEXT_COMMIT_SECONDS`.
        """
        if pages <= self._restarted_pages:
            return
        self._restarted.clear()
        self._is_restart_due = True
        self._restarted.wait(NEXT_COMMIT_SECONDS)

    def restart_log(self) -> None:
        """Restart the log if this was requested. Call it between two transactions."""
        if not self._is_restart_due:
            return
        self._is_restart_due = False
        if self.is_on and time.monotonic() >= self._no_restart_before:
            self._restart_log()
        self._restarted.set()

    def report_failure(self, error: BaseException) -> None:
        """Let the writer restart the log before its next commit if `error` is a failed flush."""
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_IOERR_FSYNC:
            self._is_log_complete = False

    def complete_log(self) -> None:
        """After a failed flush, restart the log. Raise `IncompleteLog` or another error of SQLite if this fails."""
        if self._is_log_complete:
            return
        obstacle = self._restart()
        if obstacle is not None:
            if obstacle not in self._logged_obstacles:
                self._logged_obstacles.add(obstacle)
                logger.warning("After a failed flush, writes fail until the write-ahead log restarts: %s", obstacle)
            raise IncompleteLog(obstacle)
        self._logged_obstacles.clear()
        self._is_log_complete = True

    def finish(self) -> None:
        """Copy the log into the data file, before the connection of the writer is closed.

        Usually, the last connection does this when it is closed. If the log was deleted, a connection that was opened
        later cannot read it.
        """
        try:
            if self.is_on:
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error as error:
            logger.warning("Cannot copy the write-ahead log into the data file: %s", error)

    def _restart_log(self) -> None:
        try:
            if self._restart() is None:
                self._pause = MIN_RESTART_PAUSE_SECONDS
            else:
                self._no_restart_before = time.monotonic() + self._pause
                self._pause = min(2 * self._pause, MAX_RESTART_PAUSE_SECONDS)
        except sqlite3.Error as error:
            self.report_failure(error)
            logger.warning("Cannot restart the write-ahead log, trying again later: %s", error)

    def _restart(self) -> str | None:
        """Copy the whole log into the data file and restart the log. Return what prevents this, or None."""
        (before,) = self._connection.execute("PRAGMA busy_timeout").fetchone()
        try:
            self._connection.execute(f"PRAGMA busy_timeout = {round(RESTART_SECONDS * 1000)}")
            with metrics.LOG_RESTART_DURATION.time():
                is_busy, pages, _ = self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
            if not is_busy:
                return None
            # SQLite returns the number of pages only if it has started the checkpoint.
            return "another checkpoint runs" if pages < 0 else "a read, such as a backup, needs the write-ahead log"
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {before}")


class Checkpointer:
    """A thread that runs checkpoints until `close` is called. It owns `connection` and closes it.

    `limit_log` is called after each checkpoint with the number of pages in the log.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, limit_log: Callable[[int], None]) -> None:
        self._connection = connection
        self._limit_log = limit_log
        self._path = path
        self._checkpointed_rows = 0
        self._due = threading.Event()
        self._is_closed = False
        self._problem: str | None = None
        self._thread = threading.Thread(target=self._run, name="firestore-checkpoints")
        self._thread.start()

    def report_changed_rows(self, total: int) -> None:
        """Start a checkpoint if enough rows have changed. `total` counts them since the file was opened."""
        if total - self._checkpointed_rows >= MIN_CHANGED_ROWS:
            self._checkpointed_rows = total
            self._due.set()

    def close(self) -> None:
        """Wait until a running checkpoint has finished, and stop the thread."""
        self._is_closed = True
        self._due.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_closed:
            self._due.wait(None if self._problem is None else RETRY_SECONDS)
            self._due.clear()
            if not self._is_closed:
                self._report(self._checkpoint())
        self._connection.close()

    def _checkpoint(self) -> str | None:
        """Copy the log into the data file. Return the problem that prevents this, or None."""
        try:
            if not has_room(self._connection, self._path):
                return "the disk has no space to copy the write-ahead log into the data file"
            with metrics.CHECKPOINT_DURATION.time():
                _, pages, _ = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                self._limit_log(pages)
        except (sqlite3.Error, OSError) as error:
            return str(error)
        except MemoryError:
            return "too little memory"
        return None

    def _report(self, problem: str | None) -> None:
        """Count a problem, and log it when it starts and when it ends."""
        if problem is not None:
            metrics.FAILED_CHECKPOINTS.inc()
        if problem is not None and self._problem is None:
            logger.warning("Checkpoints fail and are retried until they succeed: %s", problem)
        elif problem is None and self._problem is not None:
            logger.warning("Checkpoints succeed again")
        self._problem = problem
