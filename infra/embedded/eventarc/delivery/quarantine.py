"""Quarantine: decides which suspect is sent next, and when.

If a connection breaks, one of the events in flight may have killed the function. All of them become suspects. Suspects
are sent one at a time: a poison event then kills the function alone, and the others complete.

A *risky* suspect is one that was in quarantine when the function died, or belongs to a group whose suspects killed the
function there. After a death, risky suspects wait for `PAUSE_FACTOR` times the time that the death cost, so they cost
at most a quarter of the function's time. Other suspects do not wait.
"""

import math
from collections import Counter
from collections.abc import Iterable

from infra.embedded.eventarc.delivery.deliveries import Suspect
from infra.embedded.eventarc.delivery.delivery import State

PAUSE_FACTOR = 3.0
DEFAULT_PAUSE_SECONDS = 5.0  # until the function has acknowledged an event after its death
MAX_PAUSE_SECONDS = 60.0


class Quarantine:
    """The order and the pauses of suspects. Times are on the monotonic clock."""

    def __init__(self) -> None:
        self._deaths: Counter[int] = Counter()  # by group
        self._lost_since: float | None = None  # set from a death until the next acknowledgement
        self._resume_at = -math.inf

    def is_risky(self, suspect: Suspect) -> bool:
        """Return whether the event probably kills the function."""
        return suspect.state == State.QUARANTINED and (suspect.crashes > 0 or self._deaths[suspect.group] > 0)

    def next(self, suspects: Iterable[Suspect], now: float) -> tuple[Suspect | None, float]:
        """Return the suspect to send now, or None, and the time of the next one, or infinity."""
        suspects = list(suspects)
        groups = {suspect.group for suspect in suspects}
        for group in self._deaths.keys() - groups:
            del self._deaths[group]
        best: Suspect | None = None
        next_due = math.inf
        for suspect in suspects:
            due = max(suspect.due, self._resume_at) if self.is_risky(suspect) else suspect.due
            if due > now:
                next_due = min(next_due, due)
            elif best is None or self._rank(suspect) < self._rank(best):
                best = suspect
        return best, next_due

    def record_death(self, group: int | None, started: float, now: float) -> None:
        """Record that the function died. `group` is the group of the suspect that was being sent, if any was.

        `started` is the time when this suspect, or otherwise the first broken event, was sent.
        """
        if group is not None:
            self._deaths[group] += 1
        if self._lost_since is None:
            self._lost_since = started if group is not None else now
        self._resume_at = now + DEFAULT_PAUSE_SECONDS

    def record_acknowledgement(self, now: float) -> None:
        """Record that the function works."""
        if self._lost_since is not None:
            self._resume_at = now + min(PAUSE_FACTOR * (now - self._lost_since), MAX_PAUSE_SECONDS)
            self._lost_since = None

    def _rank(self, suspect: Suspect) -> tuple[bool, int, int, int]:
        is_notice = suspect.state == State.GIVEN_UP
        return is_notice, self._deaths[suspect.group], suspect.crashes, suspect.sequence
