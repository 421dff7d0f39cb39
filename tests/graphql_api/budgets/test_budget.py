"""A budget refuses what exceeds it, and allows it again when others have given back."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphql_api.budgets.budget import Budget, RateBudget, WaitingBudget
from storage.documents import RateLimited

LIMIT = "max_things"


def waiting_budget(max_amount: int, max_waiting: int = 10) -> WaitingBudget:
    """Return a budget whose users wait."""
    return WaitingBudget(LIMIT, max_amount, waiting_limit="max_waiting_things", max_waiting=max_waiting)


def test_a_budget_refuses_what_exceeds_it() -> None:
    """The refusal names the limit and when to retry."""
    budget = Budget(LIMIT, 3)
    budget.take(2)

    with pytest.raises(RateLimited, match="max_things is reached: at most 3 at a time") as refused:
        budget.take(2)

    assert (refused.value.limit, refused.value.retry_after) == (LIMIT, 1)
    with budget.hold():
        assert budget.used == 3
    assert budget.used == 2


def test_a_single_user_may_exceed_a_budget() -> None:
    """A request larger than the budget is possible while nothing else is in use."""
    budget = Budget(LIMIT, 3)
    budget.take(10)

    with pytest.raises(RateLimited):
        budget.take()

    budget.give_back(10)
    budget.take()


async def test_users_of_a_waiting_budget_are_admitted_in_order() -> None:
    """A small amount does not overtake a large one, so the large one cannot wait forever."""
    budget = waiting_budget(3)
    admitted: list[str] = []

    async def use(name: str, amount: int) -> None:
        async with budget.hold(amount):
            admitted.append(name)

    async with asyncio.TaskGroup() as tasks, budget.hold(2):
        tasks.create_task(use("large", 3))
        tasks.create_task(use("small", 1))
        await asyncio.sleep(0)
        assert (admitted, budget.waiting) == ([], 2)

    assert (admitted, budget.used) == (["large", "small"], 0)


async def test_urgent_users_are_admitted_first() -> None:
    """In the order in which they came. They count as waiting users."""
    budget = waiting_budget(1, max_waiting=3)
    admitted: list[str] = []

    async def use(name: str, *, is_urgent: bool) -> None:
        await budget.take(1, is_urgent=is_urgent)
        admitted.append(name)
        budget.give_back(1)

    async with asyncio.TaskGroup() as tasks, budget.hold(1):
        tasks.create_task(use("other", is_urgent=False))
        tasks.create_task(use("first urgent", is_urgent=True))
        tasks.create_task(use("second urgent", is_urgent=True))
        await asyncio.sleep(0)
        assert budget.waiting == 3
        with pytest.raises(RateLimited):
            await budget.take(1, is_urgent=True)

    assert (admitted, budget.used, budget.waiting) == (["first urgent", "second urgent", "other"], 0, 0)


async def test_too_many_waiting_users_are_refused() -> None:
    """The refusal names the limit of waiting users."""
    budget = waiting_budget(1, max_waiting=1)
    async with budget.hold(1):
        waiting = asyncio.create_task(_use(budget))
        await asyncio.sleep(0)

        with pytest.raises(RateLimited) as refused:
            await _use(budget)

    assert refused.value.limit == "max_waiting_things"
    await waiting


async def test_a_cancelled_user_uses_nothing() -> None:
    """Both before and in the turn of the event loop in which it is admitted."""
    budget = waiting_budget(1)
    holder = budget.hold(1)
    await holder.__aenter__()
    cancelled, admitted, last = (asyncio.create_task(_use(budget)) for _ in range(3))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    await holder.__aexit__(None, None, None)
    admitted.cancel()  # its turn has come, but it has not run yet
    await asyncio.wait([admitted, last])

    assert (budget.used, budget.waiting, last.exception()) == (0, 0, None)


@pytest.mark.parametrize("is_urgent", [False, True])
async def test_a_cancelled_user_does_not_count_as_waiting(is_urgent: bool) -> None:
    """Otherwise a client that sends its requests again would be refused."""
    budget = waiting_budget(2, max_waiting=2)
    async with budget.hold(2):
        first, cancelled = (asyncio.create_task(_use(budget, is_urgent=is_urgent)) for _ in range(2))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        again = asyncio.create_task(_use(budget, is_urgent=is_urgent))
        await asyncio.sleep(0)
        assert (again.done(), budget.waiting) == (False, 2)

    await asyncio.gather(first, again)
    assert (budget.used, budget.waiting) == (0, 0)


async def _use(budget: WaitingBudget, *, is_urgent: bool = False) -> None:
    await budget.take(1, is_urgent=is_urgent)
    budget.give_back(1)


def test_a_rate_is_refused_until_its_debt_is_paid() -> None:
    """An amount may exceed the reserve once."""
    now = 0.0
    budget = RateBudget(LIMIT, 10, clock=lambda: now)
    budget.take(35)

    with pytest.raises(RateLimited) as refused:
        budget.take()
    assert refused.value.retry_after == 3

    now = 2.6
    budget.take()
    with pytest.raises(RateLimited):
        budget.take()


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0.1, 30)), max_size=50))
def test_a_rate_never_allows_more_than_its_reserve_and_one_excess(steps: list[tuple[float, float]]) -> None:
    """Over any time, the allowed amount is at most the rate, one second of reserve, and the last amount."""
    now = allowed = 0.0
    budget = RateBudget(LIMIT, 10, clock=lambda: now)
    for seconds, amount in steps:
        now += seconds
        try:
            budget.take(amount)
        except RateLimited:
            continue
        allowed += amount
        assert allowed <= 10 * now + 10 + amount + 1e-6
