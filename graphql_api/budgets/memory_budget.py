"""The memory budget: the bytes of all large requests, and the memory of the process."""

import time
from types import TracebackType
from typing import Self

import psutil

from graphql_api import metrics
from graphql_api.budgets.budget import RETRY_SECONDS, Budget
from storage.documents.errors import Unavailable

MIN_RESERVED_BYTES = 64 * 1024
"""Requests below this size reserve no memory."""

_MEASUREMENT_SECONDS = 0.1
_NEARLY_USED = 3 / 4


class MemoryBudget:
    """The number of bytes that all large requests may hold in total, and the resident memory of the process.

    The size of each request is limited, but the number of clients is not, and a compressed body of a few kilobytes
    can decode to tens of megabytes. A large request therefore reserves its memory.

    A request never waits for memory, because two requests that wait for each other's memory would deadlock. If no other
    request has a reservation, a request may exceed the budget. Its own size limit still applies.
    """

    def __init__(self, max_bytes: int, *, max_resident_bytes: int | None = None) -> None:
        self._max_bytes = max_bytes
        self._reserved = 0
        self._max_resident_bytes = max_resident_bytes
        self._resident_bytes = 0
        self._measured_at = 0.0

    def new_reservation(self, share: Budget | None = None) -> "Reservation":
        """Return an empty reservation. Use it in a `with` statement, whose end releases it.

        `share` limits the bytes of one submitter.
        """
        return Reservation(self, share)

    def resize(self, before: int, after: int) -> None:
        """Resize a reservation from `before` to `after` bytes. Raises `Unavailable` if the budget is exhausted."""
        others = self._reserved - before
        if after > before and others:
            if others + after > self._max_bytes:
                raise _refusal("max_large_requests_mib", "too many large requests are in progress")
            self.check_resident()
        self._reserved = others + after

    def check_resident(self) -> None:
        """Raise `Unavailable` if the process uses too much memory. Call this before work that needs memory."""
        if self._max_resident_bytes is not None and self._resident() > self._max_resident_bytes:
            raise _refusal("max_memory_mib", "the server uses too much memory")

    @property
    def is_nearly_used(self) -> bool:
        """Whether the process uses so much memory that work could soon be refused."""
        limit = self._max_resident_bytes
        return limit is not None and self._resident() > limit * _NEARLY_USED

    def _resident(self) -> int:
        now = time.monotonic()
        if now - self._measured_at > _MEASUREMENT_SECONDS:
            self._resident_bytes = psutil.Process().memory_info().rss
            self._measured_at = now
        return self._resident_bytes


class Reservation:
    """The bytes that one request has reserved."""

    __slots__ = ("_budget", "_share", "_size")

    def __init__(self, budget: MemoryBudget, share: Budget | None) -> None:
        self._budget = budget
        self._share = share
        self._size = 0

    @property
    def size(self) -> int:
        """The number of reserved bytes."""
        return self._size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Reserve nothing."""
        self.resize(0)

    def resize(self, size: int) -> None:
        """Set the reserved bytes to `size`.

        If the budget is exhausted, change nothing and raise `Unavailable`, or `RateLimited` for the share of the
        submitter.
        """
        self._budget.resize(self._size, size)
        if self._share is not None:
            try:
                self._share.take(size - self._size) if size > self._size else self._share.give_back(self._size - size)
            except Exception:
                self._budget.resize(size, self._size)
                raise
        self._size = size


def _refusal(limit: str, reason: str) -> Unavailable:
    metrics.limit_refusals(limit).inc()
    return Unavailable(f"{reason}; send this request again later", limit=limit, retry_after=RETRY_SECONDS)
