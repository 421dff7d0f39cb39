"""A group of events: events whose documents have the same value of the first wildcard of the path pattern.

A group holds its next events in memory. For each further event, it holds only the position in the change feed. A
position takes 8 bytes, so a backlog of a million events takes 10 MB.
"""

import time
from array import array
from collections import deque
from itertools import chain

from infra.embedded.eventarc.delivery.delivery import Delivery

POSITIONS_PER_CHUNK = 64


class Positions:
    """A queue of ascending sequences."""

    def __init__(self) -> None:
        self._chunks: deque[array[int]] = deque()
        self._length = 0

    def append(self, sequence: int) -> None:
        """Add a sequence at the end."""
        if not self._chunks or len(self._chunks[-1]) == POSITIONS_PER_CHUNK:
            self._chunks.append(array("q"))
        self._chunks[-1].append(sequence)
        self._length += 1

    def take(self, count: int) -> list[int]:
        """Remove and return up to `count` sequences. If the queue is not empty, return at least one."""
        if not self._chunks:
            return []
        chunk = self._chunks[0]
        taken = chunk[:count].tolist()
        if len(taken) == len(chunk):
            self._chunks.popleft()
        else:
            del chunk[: len(taken)]
        self._length -= len(taken)
        return taken

    @property
    def first(self) -> int | None:
        """The lowest sequence, or None."""
        return self._chunks[0][0] if self._chunks else None

    def __len__(self) -> int:
        return self._length


class Group:
    """The events of one group that are not acknowledged."""

    __slots__ = (
        "in_flight",
        "loading",
        "number",
        "positions",
        "queued",
        "retries",
        "retrying",
        "window",
        "window_bytes",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.window: dict[int, Delivery] = {}
        """Events in memory that have no saved row, by sequence: queued or in flight for the first time."""
        self.window_bytes = 0
        self.queued: deque[Delivery] = deque()
        """The part of the window that waits for a lane."""
        self.loading: list[int] = []
        """Sequences that are being read from the change feed."""
        self.positions = Positions()
        self.retries: deque[Delivery] = deque()
        """Failed events that are due and wait for a lane."""
        self.retrying: set[int] = set()
        """Sequences of failed events that wait for a lane, are in flight, or whose outcome is not saved."""
        self.in_flight = 0

    @property
    def has_events(self) -> bool:
        """Whether an event in memory waits for a lane."""
        return bool(self.queued or self.retries)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to do for this group."""
        return not (self.window or self.in_flight or self.has_events or self.retrying or self.loading or self.positions)

    def add(self, delivery: Delivery) -> None:
        """Add an event to the window."""
        self.window[delivery.sequence] = delivery
        self.window_bytes += delivery.size
        self.queued.append(delivery)

    def add_retry(self, delivery: Delivery) -> None:
        """Add a failed event that is due."""
        self.retrying.add(delivery.sequence)
        self.retries.append(delivery)

    def take(self) -> Delivery:
        """Return the next event to send, failed events first. It is then in flight."""
        delivery = (self.retries or self.queued).popleft()
        delivery.started = time.monotonic()
        self.in_flight += 1
        return delivery

    def put_back(self, delivery: Delivery) -> None:
        """Return an unsent event to the front of its queue."""
        (self.retries if delivery.sequence in self.retrying else self.queued).appendleft(delivery)

    def withdraw(self, limit: int) -> list[Delivery]:
        """Remove up to `limit` events that wait for the first time, and return them. They stay in the window."""
        return [self.queued.popleft() for _ in range(min(limit, len(self.queued)))]

    def remove(self, sequence: int) -> Delivery | None:
        """Remove an event that is acknowledged, or whose row is saved. Return it if it was in the window."""
        delivery = self.window.pop(sequence, None)
        if delivery is not None:
            self.window_bytes -= delivery.size
        self.retrying.discard(sequence)
        return delivery

    def first_unsaved(self, saved: "dict[int, Delivery | None]") -> int | None:
        """Return the lowest sequence that is not acknowledged, without a row, and not in `saved`."""
        pending = chain(self.window, self.loading)
        return next((sequence for sequence in pending if sequence not in saved), self.positions.first)
