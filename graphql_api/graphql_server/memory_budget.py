"""A limit on the total memory of all large requests of the process.

The size of each request is limited, but the number of clients is not, and a compressed body of a few kilobytes
can decode to tens of megabytes. A large request therefore reserves its memory.

A request never waits for memory, because two requests that wait for each other's memory would deadlock. If no other
request has a reservation, a request may exceed the budget. Its own size limit still applies.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from storage.documents.errors import Unavailable


class MemoryBudget:
    """The number of bytes that all reservations may hold in total."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._reserved = 0

    @contextmanager
    def reserve(self) -> Iterator["Reservation"]:
        """Yield an empty reservation. Release the reservation when the context ends."""
        reservation = Reservation(self)
        try:
            yield reservation
        finally:
            reservation.resize(0)

    def exchange(self, before: int, after: int) -> None:
        """Resize a reservation from `before` to `after` bytes. Raises `Unavailable` if the budget is exhausted."""
        others = self._reserved - before
        if after > before and others and others + after > self._max_bytes:
            raise Unavailable("too many large requests are in progress; send this request again later")
        self._reserved = others + after


class Reservation:
    """The bytes that one request has reserved."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._size = 0

    def resize(self, size: int) -> None:
        """Set the reserved bytes to `size`. If the budget is exhausted, change nothing and raise `Unavailable`."""
        self._budget.exchange(self._size, size)
        self._size = size
