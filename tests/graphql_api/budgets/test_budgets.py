"""The budgets of addresses and submitters: one per address or submitter, and none is remembered forever."""

import pytest

from graphql_api.budgets.budgets import HEAVY_COST, Budgets
from graphql_api.configuration.limits import Limits
from storage.documents import RateLimited
from tests.graphql_api.budgets.sender import Sender


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("", "unix socket", True),
    ],
)
def test_an_address_has_one_budget(one: str, other: str, is_same: bool) -> None:
    """All addresses of a /64 network belong to one IPv6 client."""
    addresses = Budgets(Limits()).addresses

    assert (addresses.of(one) is addresses.of(other)) == is_same


def test_a_submitter_does_not_use_the_budget_of_another() -> None:
    """The limit of one submitter refuses only this submitter."""
    budgets = Budgets(Limits(max_subscriptions_per_submitter=1))
    budgets.submitter("a").subscriptions.take()

    with pytest.raises(RateLimited):
        budgets.submitter("a").subscriptions.take()
    budgets.submitter("b").subscriptions.take()


def test_a_submitter_may_send_a_number_of_samples_in_a_second() -> None:
    """The refusal names the limit. Another submitter has a budget of its own."""
    budgets = Budgets(Limits(max_samples_per_second_per_submitter=10))
    budgets.admit_samples(Sender("a"), 1_000, 0)

    with pytest.raises(RateLimited) as refused:
        budgets.admit_samples(Sender("a"), 1, 0)

    assert refused.value.limit == "max_samples_per_second_per_submitter"
    budgets.admit_samples(Sender("b"), 1, 0)


def test_a_submitter_may_have_a_number_of_samples_without_a_result() -> None:
    """Samples that get a result make room for others."""
    budgets = Budgets(Limits(max_pending_samples_per_submitter=2))
    budgets.submitter("a").pending_samples.take(2)

    with pytest.raises(RateLimited) as refused:
        budgets.admit_samples(Sender("a"), 1, 0)

    assert refused.value.limit == "max_pending_samples_per_submitter"
    budgets.submitter("a").pending_samples.give_back(1)
    budgets.admit_samples(Sender("a"), 1, 0)


def test_unused_budgets_are_forgotten() -> None:
    """Clients can invent any number of addresses. A used budget stays."""
    addresses = Budgets(Limits()).addresses
    used = addresses.of("192.0.2.1")
    used.connections.take()
    for number in range(3_000):
        addresses.of(f"10.0.{number // 256}.{number % 256}")

    assert len(addresses) <= 1_000
    assert addresses.of("192.0.2.1") is used


def test_unused_budgets_are_removed_on_request() -> None:
    """Those of an address and of a submitter that use them stay."""
    budgets = Budgets(Limits())
    unused = budgets.submitter("unused"), budgets.allowance(Sender("unused"))
    unused_address, address = budgets.addresses.of("192.0.2.1"), budgets.addresses.of("192.0.2.2")
    address.connections.take()
    used = budgets.submitter("used")
    used.websockets.take()
    allowance = budgets.allowance(Sender("used"))
    allowance.admit_samples(1, 2**40)  # bytes that the allowance regains in an hour

    budgets.remove_unused()

    assert budgets.submitter("used") is used
    assert budgets.allowance(Sender("used")) is allowance
    assert budgets.addresses.of("192.0.2.2") is address
    assert budgets.addresses.of("192.0.2.1") is not unused_address
    assert budgets.submitter("unused") is not unused[0]
    assert budgets.allowance(Sender("unused")) is not unused[1]


def test_at_most_16_heavy_operations_of_a_submitter_are_executed_at_a_time() -> None:
    """However little they cost. The database would otherwise have a long queue that delays other submitters."""
    submitter = Budgets(Limits()).submitter("a")
    budget, held = submitter.cost(HEAVY_COST)

    assert [budget.take_if_free(held) for _ in range(17)] == [True] * 16 + [False]
    light, held = submitter.cost(HEAVY_COST - 1)
    assert light.take_if_free(held)
    assert held == HEAVY_COST - 1


def test_a_heavy_operation_uses_its_cost() -> None:
    """Two summaries of 250 units use all units for heavy operations."""
    submitter = Budgets(Limits(max_cost_per_submitter=1_000)).submitter("a")
    budget, held = submitter.cost(250)

    assert [budget.take_if_free(held) for _ in range(3)] == [True, True, False]
