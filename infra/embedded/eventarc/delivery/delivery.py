"""A delivery: an event that is not acknowledged yet, with the history of its attempts.

Times are on the monotonic clock, so a change of the wall-clock time has no effect.
"""

from enum import StrEnum

from infra.embedded.eventarc.trigger import Trigger
from infra.embedded.firestore.storage.versions import Change


class State(StrEnum):
    """The state of an event in the table of undelivered events. It says what happens next."""

    RETRYING = "retrying"
    """The event is sent again after a pause, or it has been in flight for the first time for more than a second."""
    QUARANTINED = "quarantined"
    """The function crashed while this event was in flight. The event is sent again alone."""
    GIVEN_UP = "given_up"
    """The event crashed the function too often, or failed for longer than the retention. A notice about this is sent to
    the function until the function acknowledges the notice. If the retention is the reason, the event is sent once more
    before each notice, because the function may work again. If the function did not work, the retention starts
    again when it works.
    """
    DEAD = "dead"
    """The event is a dead letter."""


class Delivery:
    """An event that is not acknowledged yet."""

    __slots__ = (
        "attempts", "change", "crashes", "due", "first_failure", "group", "has_row", "is_unsettled", "notices",
        "problem", "size", "started", "state",
    )  # fmt: skip

    def __init__(self, change: Change, group: int) -> None:
        """Create a delivery without attempts. `group` is the number of its group."""
        self.change = change
        self.group = group
        self.size = len(change.old or b"") + len(change.new or b"")
        self.state = State.RETRYING
        self.attempts = 0  # failed attempts only
        self.crashes = 0  # attempts in quarantine during which the function crashed
        self.notices = 0  # failed attempts to send the notice that the event was given up
        self.first_failure = 0.0
        self.problem = ""
        self.due = 0.0
        self.has_row = False
        self.is_unsettled = True  # queued or being sent: the outcome of the next attempt is not recorded
        self.started = 0.0

    @property
    def sequence(self) -> int:
        """The sequence of the change."""
        return self.change.sequence

    def is_sent_again(self, trigger: Trigger) -> bool:
        """Return whether the event itself is sent again, and not only a notice."""
        if self.state is State.GIVEN_UP:
            return self.crashes < trigger.max_crashes
        return self.state is not State.DEAD

    def fail(self, problem: str, now: float, trigger: Trigger, jitter: float) -> None:
        """Record a failed attempt. `jitter` is from 0 to 1 and shortens the pause before the next attempt."""
        self.state = State.RETRYING
        self._record(problem, now)
        self.due = now + trigger.backoff.seconds(self.attempts, jitter)
        self._give_up_if_over(now, trigger)

    def crash(self, problem: str, now: float, trigger: Trigger, *, is_alone: bool) -> None:
        """Record that the connection broke during an attempt. If the event was sent alone, it may be the cause."""
        self.state = State.QUARANTINED
        self.crashes += is_alone
        self._record(problem, now)
        self.due = now
        if self.crashes >= trigger.max_crashes:
            self._give_up(now, trigger)
        else:
            self._give_up_if_over(now, trigger)

    def fail_notice(self, problem: str, now: float, trigger: Trigger, jitter: float) -> None:
        """Record that the function did not acknowledge the notice that the event was given up."""
        self.notices += 1
        self.problem = f"{self.problem.partition('; notice failed: ')[0]}; notice failed: {problem}"
        self.due = now + trigger.backoff.seconds(self.notices, jitter)

    def _record(self, problem: str, now: float) -> None:
        self.attempts += 1
        self.first_failure = self.first_failure or now
        self.problem = problem

    def _give_up_if_over(self, now: float, trigger: Trigger) -> None:
        if self.attempts >= trigger.min_attempts and now - self.first_failure >= trigger.retention_seconds:
            self._give_up(now, trigger)

    def _give_up(self, now: float, trigger: Trigger) -> None:
        self.state = State.GIVEN_UP if trigger.announces_given_up else State.DEAD
        self.due = now
