"""A budget: an amount that is limited, with the number of refusals as a metric.

A refusal names the limit, which is also the name of the setting, and says when a retry can succeed.

| budget | limits | if it is exhausted |
|---|---|---|
| `Budget` | an amount in use | refuses |
| `WaitingBudget` | an amount in use | waits, first come first served |
| `RateBudget` | an amount per second | refuses |
| `MemoryBudget` | the bytes of all large requests, and the memory of the process | refuses |
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Self

import psutil

from graphql_api import metrics
from graphql_api.errors import QuotaExceeded
from storage.documents.errors import RateLimited, Unavailable

MIN_RESERVED_BYTES = 64 * 1024
"""Less memory is not worth a reservation, which can be refused."""

RETRY_SECONDS = 1
_MEASUREMENT_SECONDS = 0.1


class Budget:
    """An amount that may be in use at the same time, for example a number of connections or bytes.

    If nothing is in use, one user may exceed the limit. A single large request is thus possible; other limits
    restrict its size.
    """

    __slots__ = ("limit", "max_amount", "used")

    def __init__(self, limit: str, max_amount: int) -> None:
        """Limit an amount to `max_amount`. `limit` is the name of the setting."""
        self.limit = limit
        self.max_amount = max_amount
        self.used = 0

    def take(self, amount: int = 1) -> None:
        """Use `amount` until `give_back`. Raises `RateLimited` if the budget is exhausted."""
        if self.used and self.used + amount > self.max_amount:
            raise refusal(self.limit, f"at most {self.max_amount:,} at a time", RETRY_SECONDS)
        self.used += amount

    def give_back(self, amount: int = 1) -> None:
        """Stop using `amount`."""
        self.used -= amount

    @contextmanager
    def hold(self, amount: int = 1) -> Iterator[None]:
        """Use `amount` in this context. Raises `RateLimited` if the budget is exhausted."""
        self.take(amount)
        try:
            yield
        finally:
            self.give_back(amount)


class WaitingBudget:
    """A budget whose users wait, first come first served, until the amount that they need is free."""

    __slots__ = ("_waiting", "limit", "max_amount", "max_waiting", "used", "waiting_limit")

    def __init__(self, limit: str, max_amount: int, *, waiting_limit: str, max_waiting: int) -> None:
        """Limit an amount to `max_amount` and the number of waiting users to `max_waiting`."""
        self.limit = limit
        self.max_amount = max_amount
        self.waiting_limit = waiting_limit
        self.max_waiting = max_waiting
        self.used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def waiting(self) -> int:
        """The number of waiting users."""
        return len(self._waiting)

    def take_if_free(self, amount: int) -> bool:
        """Use `amount` until `give_back` if this is possible without waiting. Return whether it is."""
        if self._waiting or not self._fits(amount):
            return False
        self.used += amount
        return True

    async def take(self, amount: int) -> None:
        """Use `amount` until `give_back`; wait for it if necessary. Raises `RateLimited` if too many users wait."""
        if not self.take_if_free(amount):
            await self._wait(amount)

    def give_back(self, amount: int) -> None:
        """Stop using `amount`. Users that wait for it continue."""
        self.used -= amount
        if self._waiting:
            self._admit()

    @asynccontextmanager
    async def hold(self, amount: int) -> AsyncIterator[None]:
        """Use `amount` in this context, as with `take` and `give_back`."""
        await self.take(amount)
        try:
            yield
        finally:
            self.give_back(amount)

    def _fits(self, amount: int) -> bool:
        return not self.used or self.used + amount <= self.max_amount

    async def _wait(self, amount: int) -> None:
        if len(self._waiting) >= self.max_waiting:
            raise refusal(self.waiting_limit, f"at most {self.max_waiting:,} at a time", RETRY_SECONDS)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((amount, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if (amount, turn) in self._waiting:
                self._waiting.remove((amount, turn))
            else:  # admitted and cancelled in the same turn of the event loop
                self.used -= amount
            self._admit()
            raise

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            amount, turn = self._waiting.popleft()
            self.used += amount
            if not turn.cancelled():
                turn.set_result(None)


class RateBudget:
    """An amount per second, with a reserve of one second (a token bucket).

    An amount may exceed the reserve. The debt is then paid off before the next amount is allowed.
    """

    __slots__ = ("_clock", "_reserve", "_updated", "limit", "per_second", "policy")

    def __init__(
        self, limit: str, per_second: int, clock: Callable[[], float] = time.monotonic, *, policy: str = ""
    ) -> None:
        """Allow `per_second`. `limit` is the name of the setting, and `policy` the name in response headers."""
        self.limit = limit
        self.policy = policy or limit
        self.per_second = per_second
        self._clock = clock
        self._reserve: float = per_second
        self._updated = clock()

    def take(self, amount: float = 1) -> None:
        """Use `amount`. Raises `RateLimited` if the reserve is used up."""
        self.check()
        self._reserve -= amount

    def check(self) -> None:
        """Raise `RateLimited` if the reserve is used up."""
        if self.refill() <= 0:
            raise self._refusal()

    @property
    def wait_seconds(self) -> int:
        """After how many whole seconds more is free, at least 1."""
        return max(RETRY_SECONDS, math.ceil(-self.refill() / self.per_second))

    @property
    def delay_seconds(self) -> float:
        """How long until `take` succeeds. 0 if it succeeds now."""
        return 0.0 if self.refill() > 0 else (1 - self._reserve) / self.per_second

    @property
    def is_full(self) -> bool:
        """Whether the whole reserve is free, so that this budget need not be remembered."""
        return self.refill() >= self.per_second

    def refill(self) -> float:
        """Return the reserve as of now. It is negative if there is a debt."""
        now = self._clock()
        reserve = self._reserve + (now - self._updated) * self.per_second
        self._updated = now
        self._reserve = reserve if reserve < self.per_second else self.per_second
        return self._reserve

    def _refusal(self) -> QuotaExceeded:
        metrics.limit_refusals(self.limit).inc()
        return QuotaExceeded(
            f"the limit {self.limit} is reached: at most {self.per_second:,} per second; retry later",
            limit=self.limit,
            retry_after=self.wait_seconds,
            policy=self.policy,
            quota=self.per_second,
            window_seconds=1,
        )


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

    def reserve(self, share: Budget | None = None) -> "Reservation":
        """Return an empty reservation. Use it in a `with` statement, whose end releases it.

        `share` limits the bytes of one submitter.
        """
        return Reservation(self, share)

    def exchange(self, before: int, after: int) -> None:
        """Resize a reservation from `before` to `after` bytes. Raises `Unavailable` if the budget is exhausted."""
        others = self._reserved - before
        if after > before and others:
            if others + after > self._max_bytes:
                raise _memory_refusal("max_large_requests_mib", "too many large requests are in progress")
            self.check_resident()
        self._reserved = others + after

    def check_resident(self) -> None:
        """Raise `Unavailable` if the process uses more memory than it may. Call this before work that needs memory."""
        if self._max_resident_bytes is not None and self._resident() > self._max_resident_bytes:
            raise _memory_refusal("max_memory_mib", "the server uses too much memory")

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
        self._budget.exchange(self._size, size)
        if self._share is not None:
            try:
                self._share.take(size - self._size) if size > self._size else self._share.give_back(self._size - size)
            except Exception:
                self._budget.exchange(size, self._size)
                raise
        self._size = size


def refusal(limit: str, description: str, retry_after: int) -> RateLimited:
    """Count and return the error for a refusal because of `limit`."""
    metrics.limit_refusals(limit).inc()
    message = f"the limit {limit} is reached: {description}; retry later"
    return RateLimited(message, limit=limit, retry_after=retry_after)


def _memory_refusal(limit: str, reason: str) -> Unavailable:
    metrics.limit_refusals(limit).inc()
    return Unavailable(f"{reason}; send this request again later", limit=limit, retry_after=RETRY_SECONDS)
