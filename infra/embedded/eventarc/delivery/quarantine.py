"""Quarantine: decides which suspect is sent next, and when.

If a connection breaks, one of the events in flight may have crashed the function. All of these events become suspects.
Suspects are sent one at a time. A crash counts against an event only if no other event was in flight. An innocent event
is therefore not given up because another event in flight crashed the function. An event after its deadline, and a call
of a schedule, do not count as in flight, although the function may still work for them.

A suspect is *unclear* if the function crashed during its trial while other events were in flight, which were new events
or other suspects. The next trial of an unclear suspect is exclusive from its start to its end, so it shows whether the
suspect is the cause.

A suspect is *risky* if it was in flight alone when the function crashed, or if it belongs to the group of such an
event. After a crash, risky suspects wait until other events have been acknowledged. They then wait for `PAUSE_FACTOR`
times the time that the crash has cost, so they use at most a quarter of the function's time. Other suspects do not
wait. If other groups are active, new events of a group with risky suspects wait in the same way.
"""

import math
from collections import Counter
from collections.abc import Iterable

from infra.embedded.eventarc.delivery.delivery import State
from infra.embedded.eventarc.delivery.delivery_store import Suspect

PAUSE_FACTOR = 3.0
IDLE_PAUSE_SECONDS = 2.0  # after a crash, if no other events wait
MAX_PAUSE_SECONDS = 30.0
MEMORY_SECONDS = 60.0
MAX_ACTIVE_GROUPS = 2


class Quarantine:
    """The order and the pauses of suspects. Times are on the monotonic clock."""

    def __init__(self, max_crashes: int) -> None:
        self._max_crashes = max_crashes
        self._crashes: Counter[int] = Counter()  # by group: crashes while one of its events was in flight alone
        self._last_crashes: dict[int, float] = {}  # by group
        self._active: dict[int, float] = {}  # the last two groups with a response, and the time of the response
        self._last_crash = -math.inf
        self._lost_since: float | None = None  # set from a crash until the next acknowledgement
        self._resume_at = -math.inf
        self.unclear: set[int] = set()
        """Sequences of unclear suspects. The sender adds and removes them."""

    def is_risky(self, suspect: Suspect) -> bool:
        """Return whether the event probably crashes the function."""
        if suspect.state == State.GIVEN_UP and suspect.crashes >= self._max_crashes:  # only a notice is sent
            return False
        return suspect.crashes > 0 or self._crashes[suspect.group] > 0

    def needs_exclusive_trial(self, suspect: Suspect) -> bool:
        """Return whether no other event may be in flight until the trial of the suspect has ended."""
        return suspect.sequence in self.unclear

    def may_overlap(self, suspect: Suspect) -> bool:
        """Return whether the trial of the suspect may run at the same time as trials of other suspects."""
        return not self.is_risky(suspect) and not self.needs_exclusive_trial(suspect)

    def next(self, suspects: Iterable[Suspect], now: float, *, is_idle: bool) -> tuple[Suspect | None, float]:
        """Return the suspect to send now, or None, and the time at which the next suspect is due, or infinity.

        `is_idle` says that no other events wait.
        """
        resume_at = self._resume_time(is_idle=is_idle)
        best: Suspect | None = None
        next_due = math.inf
        for suspect in suspects:
            due = max(suspect.due, resume_at) if self.is_risky(suspect) else suspect.due
            if due > now:
                next_due = min(next_due, due)
            elif best is None or self._rank(suspect) < self._rank(best):
                best = suspect
        return best, next_due

    def record_crash(self, group: int | None, started: float, now: float) -> None:
        """Record that a connection broke during an attempt that was sent at `started`.

        `group` is the group of the event, or None if other events were in flight too.
        """
        self._last_crash = now
        if group is not None:
            self._crashes[group] += 1
            self._last_crashes[group] = now
            self._lost_since = started
        elif self._lost_since is None:
            self._lost_since = now

    def record_acknowledgement(self, group: int, now: float) -> None:
        """Record that the function has acknowledged an event of `group`, so it works."""
        self._active[group] = now
        if len(self._active) > MAX_ACTIVE_GROUPS:
            del self._active[min(self._active, key=self._active.__getitem__)]
        if self._lost_since is not None:
            self._resume_at = now + min(PAUSE_FACTOR * (now - self._lost_since), MAX_PAUSE_SECONDS)
            self._lost_since = None

    @property
    def is_recovering(self) -> bool:
        """Whether the function has crashed and has not acknowledged an event after the crash."""
        return self._lost_since is not None

    def restricted_groups(self, now: float, waiting: Iterable[int]) -> set[int]:
        """Return the groups whose events crashed the function recently, if another group is active or in `waiting`.

        New events of such a group probably crash the function too.
        """
        for group, last in list(self._last_crashes.items()):
            if now - last > MEMORY_SECONDS:
                del self._last_crashes[group], self._crashes[group]
        if not self._crashes:
            return set()
        active = {group for group, last in self._active.items() if now - last < MEMORY_SECONDS}.union(waiting)
        return {group for group in self._crashes if active - {group}}

    def must_wait(self, now: float, *, is_idle: bool) -> bool:
        """Return whether risky suspects and restricted groups must wait."""
        return now < self._resume_time(is_idle=is_idle)

    def _resume_time(self, *, is_idle: bool) -> float:
        if self._lost_since is None:
            return self._resume_at
        return self._last_crash + (IDLE_PAUSE_SECONDS if is_idle else MAX_PAUSE_SECONDS)

    def _rank(self, suspect: Suspect) -> tuple[bool, int, bool, int, int]:
        is_given_up = suspect.state == State.GIVEN_UP
        is_exclusive = self.needs_exclusive_trial(suspect)
        return is_given_up, self._crashes[suspect.group], is_exclusive, suspect.crashes, suspect.sequence
