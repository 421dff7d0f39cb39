"""Exponential backoff: the pause before the next attempt, for restarts, retries and probes."""

from dataclasses import dataclass

_MAX_DOUBLINGS = 60


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that double from `min_seconds` up to `max_seconds`."""

    min_seconds: float
    max_seconds: float

    def seconds(self, failures: int, jitter: float = 0.0) -> float:
        """Return the pause after `failures` failures in a row, in seconds.

        `jitter` is from 0 to 1 and shortens the pause by up to a half. If attempts failed at the same time, a random
        jitter spreads their retries.
        """
        pause = min(self.min_seconds * 2.0 ** min(failures - 1, _MAX_DOUBLINGS), self.max_seconds)
        return pause * (1 - jitter / 2)
