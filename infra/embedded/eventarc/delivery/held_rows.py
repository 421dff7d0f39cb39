"""Held rows: the rows of undelivered events that must not be sent now, because they are in flight or being saved.

A thread reads rows while events are sent and outcomes are saved. A row may therefore be outdated after the read,
because its event was acknowledged during the read. A row changes only while it is held. A reader therefore skips all
rows that were held at any time during the read.
"""

import contextlib
from collections.abc import Iterable, Iterator


class HeldRows:
    """The sequences of the held rows of one trigger."""

    def __init__(self) -> None:
        self._held: set[int] = set()
        self._reads: list[set[int]] = []

    def hold(self, sequences: Iterable[int]) -> None:
        """Let no reader send these rows until `release`."""
        added = set(sequences)
        self._held |= added
        for seen in self._reads:
            seen |= added

    def release(self, sequence: int) -> None:
        """Let readers send a row again."""
        self._held.discard(sequence)

    @contextlib.contextmanager
    def during_read(self) -> Iterator[set[int]]:
        """Return the set of the rows that have been held since the read began. It grows during the read."""
        seen = set(self._held)
        self._reads.append(seen)
        try:
            yield seen
        finally:
            self._reads = [each for each in self._reads if each is not seen]
