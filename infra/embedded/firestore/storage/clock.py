"""The clock: commit times and read times that are consistent with each other.

A new commit time is later than all previous commit times and all read times returned so far. This is true even if the
machine's clock is set back. Commit times are then ahead of the machine's clock for some time. They advance at half of
the speed until the machine's clock has caught up: leases that clients measure by them still end. During a commit, the
read time is the time of the last published commit. Otherwise, the read time is the current time.

Ages of documents and versions are measured with a separate clock, see steady_clock.py.

All times are in microseconds since the epoch.
"""

import logging
import threading
import time
from dataclasses import dataclass

from runtime.elapsed_time import elapsed

MAX_AHEAD_SECONDS = 1.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A read time, and the sequence of the last change that was committed at or before this time."""

    read_time: int
    sequence: int


class Clock:
    """The source of commit and read times, shared by the writer's thread and the event loop."""

    def __init__(self, last_commit_time: int, sequence: int) -> None:
        self._lock = threading.Lock()
        self._latest = last_commit_time  # the next commit time must be later
        self._published = Snapshot(last_commit_time, sequence)
        self._committing = False
        self._is_ahead = False
        self._set_back_at: tuple[int, int] | None = None
        """The latest time and the elapsed time at a commit after the machine's clock was set back, or None."""

    @property
    def seconds_ahead(self) -> float:
        """The number of seconds by which the next commit time is ahead of the machine's clock. Usually 0."""
        with self._lock:
            return max(0, self._latest - now()) / 1_000_000

    def log_if_ahead(self) -> None:
        """Log when commit times start to run ahead of the machine's clock, and when this ends."""
        seconds = self.seconds_ahead
        if (seconds > MAX_AHEAD_SECONDS) is self._is_ahead:
            return
        self._is_ahead = not self._is_ahead
        if self._is_ahead:
            logger.warning(
                "Commit times run %.1f s ahead of the machine's clock: the clock was set back, or it was ahead when "
                "the last commits were made. New documents get times in the future until the clock has caught up.",
                seconds,
            )
        else:
            logger.warning("Commit times agree with the machine's clock again")

    def begin_commit(self) -> None:
        """Start a group commit. Until `publish` is called, read times are before its commit times."""
        with self._lock:
            self._committing = True

    def next_commit_time(self) -> int:
        """Return the time of the next commit."""
        with self._lock:
            self._latest = max(self._latest + 1, self._commit_time())
            return self._latest

    def advance(self, commit_time: int) -> None:
        """Make all later commit times greater than `commit_time`."""
        with self._lock:
            self._latest = max(self._latest, commit_time)

    def publish(self, sequence: int | None) -> None:
        """End a group commit and make it visible to readers. `sequence` is None if it failed or changed nothing."""
        with self._lock:
            self._committing = False
            if sequence is None:
                sequence = self._published.sequence
            self._published = Snapshot(self._latest, sequence)

    def snapshot(self) -> Snapshot:
        """Return a snapshot that includes every acknowledged commit. Later commits do not change its content."""
        with self._lock:
            if not self._committing:
                self._latest = max(self._latest, now())
                self._published = Snapshot(self._latest, self._published.sequence)
            return self._published

    def reserve(self, read_time: int) -> bool:
        """Make all later commit times greater than `read_time`. Return False if `read_time` is in the future."""
        with self._lock:
            if read_time > max(self._latest, now()):
                return False
            self._latest = max(self._latest, read_time)
            return True

    def is_visible(self, read_time: int | None = None) -> bool:
        """Return whether readers see every commit up to `read_time` (None: every commit that has begun).

        If this returns False, a running commit may have a commit time before `read_time`.
        """
        with self._lock:
            return not self._committing or (read_time is not None and read_time <= self._published.read_time)

    def _commit_time(self) -> int:
        """Return the time of the machine's clock. If it was set back, return a time that advances at half its speed."""
        machine_time = now()
        if machine_time >= self._latest:
            self._set_back_at = None
            return machine_time
        elapsed_time = elapsed()
        if self._set_back_at is not None:
            latest, before = self._set_back_at
            commit_time = latest + (elapsed_time - before) // 2
            if commit_time > self._latest:
                return commit_time
        # A read can have returned a later time since then: the clock may have been set forward and back again.
        self._set_back_at = self._latest, elapsed_time
        return self._latest


def now() -> int:
    """Return the microseconds since the epoch."""
    return time.time_ns() // 1000
