"""A budget: a limited amount. A metric counts the refusals.

A refusal says when a retry can succeed, and names the limit. The limit has the name of its setting.

| budget | limits | if it is exhausted |
|---|---|---|
| `Budget` | an amount in use | refuses |
| `WaitingBudget` | an amount in use | waits: urgent users first, then first come first served |
| `RateBudget` | an amount per second | refuses |
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Generic, Protocol, TypeVar

from graphql_api import metrics
from graphql_api.errors import QuotaExceeded
from storage.documents.errors import RateLimited

RETRY_SECONDS = 1

_MIN_SWEEP_BUDGETS = 1_000
"""Unused budgets are removed when this number of budgets is reached, and again when the number has doubled."""


class _Removable(Protocol):
    @property
    def is_unused(self) -> bool:
        """Whether this budget is the same as a new one."""


_Queue = OrderedDict[asyncio.Future[None], int]
"""For each waiting user, the future that ends the wait, and the amount. A user leaves the queue in constant time."""

K = TypeVar("K", bound=Hashable)
B = TypeVar("B", bound=_Removable)


class Budget:
    """An amount that may be in use at the same time, for example a number of connections or bytes.

    If nothing is in use, one user may exceed the limit. A single large request is therefore possible. Other limits
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
    """A budget whose users wait, first come first served, until the amount that they need is free.

    Urgent users come before all others.
    """

    __slots__ = ("_urgent", "_waiting", "limit", "max_amount", "max_waiting", "used", "waiting_limit")

    def __init__(self, limit: str, max_amount: int, *, waiting_limit: str, max_waiting: int) -> None:
        """Limit an amount to `max_amount` and the number of waiting users to `max_waiting`."""
        self.limit = limit
        self.max_amount = max_amount
        self.waiting_limit = waiting_limit
        self.max_waiting = max_waiting
        self.used = 0
        self._waiting: _Queue = OrderedDict()
        self._urgent: _Queue = OrderedDict()

    @property
    def waiting(self) -> int:
        """The number of waiting users."""
        return len(self._waiting) + len(self._urgent)

    def take_if_free(self, amount: int) -> bool:
        """Use `amount` until `give_back` if this is possible without waiting. Return whether it is."""
        if self.waiting or not self._fits(amount):
            return False
        self.used += amount
        return True

    async def take(self, amount: int, *, is_urgent: bool = False) -> None:
        """Use `amount` until `give_back`; wait for it if necessary. Raises `RateLimited` if too many users wait.

        An urgent user does not wait for users that are not urgent.
        """
        if not self.take_if_free(amount):
            await self._wait(amount, self._urgent if is_urgent else self._waiting)

    def give_back(self, amount: int) -> None:
        """Stop using `amount`. Users that wait for it continue."""
        self.used -= amount
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

    async def _wait(self, amount: int, queue: _Queue) -> None:
        if self.waiting >= self.max_waiting:
            raise refusal(self.waiting_limit, f"at most {self.max_waiting:,} at a time", RETRY_SECONDS)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue[turn] = amount
        try:
            await turn
        except asyncio.CancelledError:
            if queue.pop(turn, None) is None:  # admitted and cancelled in the same iteration of the event loop
                self.used -= amount
            self._admit()
            raise

    def _admit(self) -> None:
        while (queue := self._urgent or self._waiting) and self._fits(next(iter(queue.values()))):
            turn, amount = queue.popitem(last=False)
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

    def set_rate(self, per_second: int) -> None:
        """Change the limit to `per_second`. Earlier use still counts, and the reserve does not grow immediately."""
        self._reserve = min(self.refill(), per_second)
        self.per_second = per_second

    @property
    def wait_seconds(self) -> int:
        """The number of whole seconds until a part of the amount is free, at least 1."""
        return max(RETRY_SECONDS, math.ceil(-self.refill() / self.per_second))

    @property
    def delay_seconds(self) -> float:
        """The number of seconds until `take` succeeds. 0 if it succeeds now."""
        return 0.0 if self.refill() > 0 else (1 - self._reserve) / self.per_second

    @property
    def is_full(self) -> bool:
        """Whether the whole reserve is free. The budget can then be removed."""
        return self.refill() >= self.per_second

    def refill(self) -> float:
        """Update the reserve, and return it. It is negative if there is a debt."""
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


class BudgetsByName(Generic[K, B]):
    """Budgets that are created on first use. Unused budgets are removed: a new budget has the same state."""

    def __init__(self, create: Callable[[K], B]) -> None:
        """Create a budget with `create` on the first use of its name."""
        self._create = create
        self._budgets: dict[K, B] = {}
        self._sweep_at = _MIN_SWEEP_BUDGETS

    def __len__(self) -> int:
        return len(self._budgets)

    def of(self, name: K) -> B:
        """Return the budget with this name. Do not keep it while nothing is in use: it can be removed."""
        budget = self._budgets.get(name)
        if budget is None:
            self._sweep()
            budget = self._budgets[name] = self._create(name)
        return budget

    def remove_unused(self) -> None:
        """Free the memory of the budgets of which nothing is used."""
        self._budgets = {name: budget for name, budget in self._budgets.items() if not budget.is_unused}

    def _sweep(self) -> None:
        if len(self._budgets) >= self._sweep_at:
            self.remove_unused()
            self._sweep_at = max(_MIN_SWEEP_BUDGETS, 2 * len(self._budgets))


def refusal(limit: str, description: str, retry_after: int) -> RateLimited:
    """Count and return the error for a refusal because of `limit`."""
    metrics.limit_refusals(limit).inc()
    message = f"the limit {limit} is reached: {description}; retry later"
    return RateLimited(message, limit=limit, retry_after=retry_after)
