"""The clocks: one for commit times and read times, and one for ages.

All times are in microseconds since the epoch.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from infra.embedded.python_command import python_command
from runtime.elapsed_time import elapsed

MAX_AHEAD_SECONDS = 1.0
MAX_DRIFT_SECONDS = 1.0
"""A larger difference from the elapsed time is a step. A smaller difference is a normal correction of the clock."""
CONFIRMATION_SECONDS = 3600.0

_ARCHIVE = python_command("infra.embedded.firestore.archive")
_SECOND = 1_000_000

logger = logging.getLogger(__name__)


def now() -> int:
    """Return the microseconds since the epoch."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A read time, and the sequence of the last change that was committed at or before this time."""

    read_time: int
    sequence: int


class Clock:
    """The source of commit and read times, shared by the writer's thread and the event loop.

    Commit times and read times are consistent with each other. A new commit time is later than all previous commit
    times and all read times returned so far. This is true even if the machine's clock is set back. Commit times are
    then ahead of the machine's clock for some time. They advance at half of the speed until the machine's clock has
    caught up: leases that clients measure by them still end. During a commit, the read time is the time of the last
    published commit. Otherwise, the read time is the current time.
    """

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
                "the last commits were made. New documents get times in the future until the clock has caught up. If "
                "this takes too long, stop the server, and move the documents to a new file with `export` and `import` "
                "of %s",
                seconds,
                _ARCHIVE,
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


class SteadyClock:
    """The wall-clock time without the steps of the machine's clock, for ages of documents and versions.

    Deletions cannot be undone, so a wrong clock must not cause deletions. If the machine's clock is set forward, this
    clock ignores the step at first. It follows the machine's clock if the step still exists after CONFIRMATION_SECONDS.
    If the machine's clock is set back, this clock follows immediately. This only delays deletions.

    The time is saved in the data file. After a start, this clock continues from the saved time, because the machine may
    have started with a wrong clock. It follows the machine's clock after CONFIRMATION_SECONDS.

    The time during which the machine was suspended is not a step. The object belongs to one thread.
    """

    def __init__(
        self, saved: int | None = None, wall: Callable[[], int] = now, elapsed: Callable[[], int] = elapsed
    ) -> None:
        """Continue from the time that an earlier process has saved. None: there was no earlier process."""
        self._wall = wall
        self._elapsed = elapsed
        current, offset = elapsed(), wall() - elapsed()
        self._offset = offset if saved is None else min(offset, saved - current)
        self._stepped_at = current if offset - self._offset > MAX_DRIFT_SECONDS * _SECOND else None
        self._last_offset = offset

    def now(self) -> int:
        """Return the time."""
        current = self._elapsed()
        offset = self._wall() - current
        step, new_step = offset - self._offset, offset - self._last_offset
        self._last_offset = offset
        if step <= MAX_DRIFT_SECONDS * _SECOND:
            self._follow(offset, step)
        elif self._stepped_at is None or new_step > MAX_DRIFT_SECONDS * _SECOND:  # each step gets an hour of its own
            self._stepped_at = current
            logger.warning(
                "The machine's clock was set forward by %.1f s. Documents and versions do not expire earlier, unless "
                "the clock stays like this for %.0f s.",
                step / _SECOND,
                CONFIRMATION_SECONDS,
            )
        elif current - self._stepped_at >= CONFIRMATION_SECONDS * _SECOND:
            logger.info(
                "Documents and versions now expire by the machine's clock, which is %.1f s later", step / _SECOND
            )
            self._follow(offset, step)
        return current + self._offset

    def _follow(self, offset: int, step: int) -> None:
        if step < -MAX_DRIFT_SECONDS * _SECOND:
            logger.warning("The machine's clock was set back by %.1f s", -step / _SECOND)
        elif self._stepped_at is not None and step <= MAX_DRIFT_SECONDS * _SECOND:
            logger.warning("The machine's clock was set back to the earlier time")
        self._offset = offset
        self._stepped_at = None
