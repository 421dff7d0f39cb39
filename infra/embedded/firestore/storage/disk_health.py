"""Disk health: whether commits reach the disk. Log lines about disk errors are not repeated for each commit.

If the disk is full or fails, every commit fails. A line is logged when commits start to fail and when they succeed
again. Between these lines, and if the state alternates quickly, at most one line is logged every LOG_SECONDS. On a full
disk, small commits can still succeed for a short time. If commits fail again for PERSISTENT_SECONDS after the log has
said that they succeed, a line is logged at once: otherwise the log would say that the disk works.

Only the writer's thread reports outcomes.
"""

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

from infra.embedded.firestore import errors

LOG_SECONDS = 60.0
PERSISTENT_SECONDS = 2.0
DISK_TEST = (
    "INSERT OR REPLACE INTO settings (name, value) VALUES ('disk_test', zeroblob(262144))",
    "DELETE FROM settings WHERE name = 'disk_test'",
)
"""Statements that succeed only if large writes can succeed. Small writes can succeed even on a full disk."""

logger = logging.getLogger(__name__)


class DiskHealth:
    """The outcome of the last commit. `clock` returns monotonic time in seconds."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self.problem: str | None = None
        """The problem of the last commit. None if the last commit succeeded."""
        self.failed_writes = 0
        """The number of failed writes since the file was opened."""
        self._unlogged_writes = 0
        self._logged_at = -math.inf
        self._failing_since: float | None = None
        self._is_failure_logged = False

    def report_failure(self, error: Exception, writes: int) -> None:
        """Record a commit of `writes` jobs that failed because of the disk."""
        self.problem = errors.from_exception(error).message
        self.failed_writes += writes
        self._unlogged_writes += writes
        now = self._clock()
        if self._failing_since is None:
            self._failing_since = now
        is_persistent = now - self._failing_since >= PERSISTENT_SECONDS
        if now - self._logged_at < LOG_SECONDS and (self._is_failure_logged or not is_persistent):
            return
        details = getattr(error, "sqlite_errorname", type(error).__name__)
        words = "still fail" if self._is_failure_logged else "fail; reads still work"
        logger.error("Writes to %s %s: %s (%d writes, %s)", self._path, words, self.problem, self._count(), details)
        self._is_failure_logged = True

    def report_success(self) -> None:
        """Record a commit that is on disk."""
        self.problem = None
        self._failing_since = None
        if self._is_failure_logged:
            logger.warning("Writes to %s succeed again; %d more writes had failed", self._path, self._count())
            self._is_failure_logged = False

    def _count(self) -> int:
        """Return the number of failed writes since the last log line, and reset it to 0."""
        self._logged_at = self._clock()
        count, self._unlogged_writes = self._unlogged_writes, 0
        return count
