"""Commit times and read times that never contradict each other.

A commit time is in microseconds, later than every commit before it and every read time given out before
it, whatever the machine's clock does. A read time is one that no commit still under way can fall before:
while the writer is busy that is the last published commit, otherwise it is now.
"""

import threading
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A moment to read at, and the last change that was committed by then."""

    read_time: int
    sequence: int


class Clock:
    """Hands out times; shared by the writer's thread and the event loop."""

    def __init__(self, floor: int, sequence: int) -> None:
        self._lock = threading.Lock()
        self._floor = floor
        self._published = Snapshot(floor, sequence)
        self._committing = False

    def begin(self) -> None:
        """Note that commit times are being given out which no reader can see yet."""
        with self._lock:
            self._committing = True

    def next(self) -> int:
        """Return the time of the next commit."""
        with self._lock:
            self._floor = max(self._floor + 1, now())
            return self._floor

    def publish(self, sequence: int | None) -> None:
        """Let readers see what was committed; None if the commit failed."""
        with self._lock:
            self._committing = False
            if sequence is None:
                sequence = self._published.sequence
            self._published = Snapshot(self._floor, sequence)

    def snapshot(self) -> Snapshot:
        """Return a moment at which every acknowledged commit is there and nothing can be added any more."""
        with self._lock:
            if not self._committing:
                self._floor = max(self._floor, now())
                self._published = Snapshot(self._floor, self._published.sequence)
            return self._published

    def reach(self, read_time: int) -> bool:
        """Return whether `read_time` has come, and give it to no commit from now on."""
        with self._lock:
            if read_time > max(self._floor, now()):
                return False
            self._floor = max(self._floor, read_time)
            return True

    def settled(self, read_time: int | None = None) -> bool:
        """Return whether every commit up to `read_time` (None: whatsoever) can be seen.

        A commit that is under way may have been given an earlier time.
        """
        with self._lock:
            return not self._committing or (read_time is not None and read_time <= self._published.read_time)


def now() -> int:
    """Return the microseconds since the epoch."""
    return time.time_ns() // 1000
