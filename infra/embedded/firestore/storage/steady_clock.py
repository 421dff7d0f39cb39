"""A clock for ages: the wall-clock time, without the steps of the machine's clock.

Deletions cannot be undone, so a wrong clock must not cause deletions. If the machine's clock is set forward, this clock
ignores the step at first. It follows the machine's clock if the step still exists after CONFIRMATION_SECONDS. If the
machine's clock is set back, this clock follows immediately. This only delays deletions.

The time is saved in the data file. After a start, this clock continues from the saved time, because the machine may
have started with a wrong clock. It follows the machine's clock after CONFIRMATION_SECONDS.

The time during which the machine was suspended is not a step.
"""

import logging
from collections.abc import Callable

from infra.embedded.firestore.storage.clock import now
from runtime.elapsed_time import elapsed

MAX_DRIFT_SECONDS = 1.0
"""A larger difference from the elapsed time is a step. A smaller difference is a normal correction of the clock."""
CONFIRMATION_SECONDS = 3600.0

_SECOND = 1_000_000

logger = logging.getLogger(__name__)


class SteadyClock:
    """Returns microseconds since the epoch. Belongs to one thread."""

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
