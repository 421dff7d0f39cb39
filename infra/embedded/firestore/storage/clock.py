"""The clock: commit times and read times that are consistent with each other.

A commit time is later than every earlier commit time and every read time that was returned before, even if the
machine's clock is set back. A read time is never later than a commit that is still running: while the writer is busy
it is the time of the last published commit, otherwise it is now.

All times are in microseconds since the epoch.
"""

import threading
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A read time, and the sequence of the last change that was committed at or before it."""

    read_time: int
    sequence: int


class Clock:
    """The source of commit and read times, shared by the writer's thread and the event loop."""

    def __init__(self, last_commit_time: int, sequence: int) -> None:
        self._lock = threading.Lock()
        self._latest = last_commit_time  # later commits get a later time
        self._published = Snapshot(last_commit_time, sequence)
        self._committing = False

    def begin_commit(self) -> None:
        """Start a group commit. Readers do not see its commit times until `publish`."""
        with self._lock:
            self._committing = True

    def next_commit_time(self) -> int:
        """Return the time of the next commit."""
        with self._lock:
            self._latest = max(self._latest + 1, now())
            return self._latest

    def publish(self, sequence: int | None) -> None:
        """End a group commit and make it visible to readers. None means that it failed or changed nothing."""
        with self._lock:
            self._committing = False
            if sequence is None:
                sequence = self._published.sequence
            self._published = Snapshot(self._latest, sequence)

    def snapshot(self) -> Snapshot:
        """Return the latest snapshot that includes every acknowledged commit and can no longer change."""
        with self._lock:
            if not self._committing:
                self._latest = max(self._latest, now())
                self._published = Snapshot(self._latest, self._published.sequence)
            return self._published

    def reserve(self, read_time: int) -> bool:
        """Make every later commit time greater than `read_time`. Return False if it is in the future."""
        with self._lock:
            if read_time > max(self._latest, now()):
                return False
            self._latest = max(self._latest, read_time)
            return True

    def is_visible(self, read_time: int | None = None) -> bool:
        """Return whether readers see every commit up to `read_time` (None: every commit that has begun).

        A running commit may have an earlier time.
        """
        with self._lock:
            return not self._committing or (read_time is not None and read_time <= self._published.read_time)


def now() -> int:
    """Return the microseconds since the epoch."""
    return time.time_ns() // 1000
