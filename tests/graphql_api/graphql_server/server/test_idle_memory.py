"""Idle connections that use much memory are closed before other requests have to be refused."""

from functools import partial

import pytest

from graphql_api.budgets.budgets import Budgets
from graphql_api.budgets.memory_budget import MemoryBudget
from graphql_api.configuration.limits import Limits
from graphql_api.graphql_server.server.open_connections import OpenConnections


def test_idle_connections_of_the_largest_client_are_closed_while_memory_is_short() -> None:
    """Connections of many addresses could otherwise use all memory. A quarter of all connections may stay idle."""
    connections = OpenConnections(Budgets(Limits(max_connections=16, max_memory_mib=1)))  # the process uses more
    closed: list[int] = []
    for number, address in enumerate(["10.0.0.1", *["10.0.0.2"] * 8]):
        connections.admit(address, partial(closed.append, number))

    assert closed == [1, 2, 3, 4, 5]
    assert connections.count == len(connections.idle) == 4


def test_idle_connections_stay_open_while_memory_is_free() -> None:
    """Only the limit of connections applies."""
    connections = OpenConnections(Budgets(Limits(max_connections=16, max_memory_mib=1_000_000)))
    closed: list[int] = []
    for number in range(16):
        connections.admit("10.0.0.1", partial(closed.append, number))

    assert closed == []


def test_a_connection_that_stays_idle_closes_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that sends a body waits for its client after each part."""
    connections = OpenConnections(Budgets(Limits(max_connections=4, max_connections_per_address=4)))
    closed: list[int] = []
    monkeypatch.setattr(MemoryBudget, "is_nearly_used", False)
    opened = [connections.admit("10.0.0.1", partial(closed.append, number)) for number in range(4)]
    monkeypatch.setattr(MemoryBudget, "is_nearly_used", True)

    opened[3].set_idle()
    assert closed == []
    opened[3].set_busy()
    opened[3].set_idle()
    assert closed == [0]
