"""A limit on the memory that all large requests of the process hold together.

The size of each request is limited, but the number of clients is not, and a compressed body of a few kilobytes
can decode to tens of megabytes. A request that holds much memory therefore reserves it.

Requests never wait for memory: waiting holders could deadlock. A request that is alone may reserve any number of
bytes, because its own size limit applies.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from storage.documents.errors import Unavailable


class MemoryBudget:
    """The bytes that reservations share."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._reserved = 0

    @contextmanager
    def reserve(self) -> Iterator["Reservation"]:
        """Yield an empty reservation. It is released when the context ends."""
        reservation = Reservation(self)
        try:
            yield reservation
        finally:
            reservation.resize(0)

    def exchange(self, before: int, after: int) -> None:
        """Replace `before` reserved bytes by `after`. Raises `Unavailable` if the budget is exhausted."""
        others = self._reserved - before
        if after > before and others and others + after > self._max_bytes:
            raise Unavailable("too many large requests are in progress; send this request again later")
        self._reserved = others + after


class Reservation:
    """The bytes that one request holds."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._size = 0

    def resize(self, size: int) -> None:
        """Set the reserved bytes to `size`. Raises `Unavailable`, and changes nothing, if the budget is exhausted."""
        self._budget.exchange(self._size, size)
        self._size = size
