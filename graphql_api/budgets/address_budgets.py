"""The budgets of one address: connections, and attempts with credentials that are not known to be valid.

Each kind of credential has its own budget of attempts. Devices that send a wrong API key therefore do not prevent
sign-ins at the same address, and an identity provider that is slow does not delay API keys.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from graphql_api.budgets.budget import Budget, BudgetsByName, RateBudget, WaitingBudget
from graphql_api.configuration.limits import Limits

_FAILED = "max_failed_authentications_per_second"
_MAX_RUNNING_ATTEMPTS = 10
_MAX_WAITING_ATTEMPTS = 1_000


@dataclass(slots=True)
class AttemptBudget:
    """The attempts of one address with one kind of credential, such as reads of unknown API keys, or sign-ins."""

    running: WaitingBudget
    failed: RateBudget

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        """Count an attempt as running. Raises `RateLimited` if too many attempts have failed, or if too many wait."""
        async with self.running.hold(1):
            self.failed.check()
            yield

    @property
    def is_unused(self) -> bool:
        """Whether this budget is the same as a new one."""
        return not (self.running.used or self.running.waiting) and self.failed.is_full


@dataclass(slots=True)
class AddressBudget:
    """The budget of one address. An address is an IPv4 address or the first 64 bits of an IPv6 address."""

    connections: Budget

    unauthenticated_websockets: Budget
    """WebSockets whose clients have not authenticated themselves yet. They are also connections."""

    @property
    def is_unused(self) -> bool:
        """Whether this budget is the same as a new one."""
        return not self.connections.used


class AddressBudgets:
    """The budgets of all addresses."""

    def __init__(self, limits: Limits) -> None:
        self._by_network = BudgetsByName[str, AddressBudget](lambda _: _address_budget(limits))
        self._attempts = BudgetsByName[tuple[str, str], AttemptBudget](lambda _: _attempt_budget(limits))

    def __len__(self) -> int:
        return len(self._by_network) + len(self._attempts)

    def of(self, address: str) -> AddressBudget:
        """Return the budget of the IP address `address`. All texts that are not IP addresses share one budget."""
        return self._by_network.of(network(address))

    def attempts(self, address: str, kind: str) -> AttemptBudget:
        """Return the budget of the IP address `address` for attempts with one kind of credential."""
        return self._attempts.of((network(address), kind))

    def remove_unused(self) -> None:
        """Free the memory of the budgets of which nothing is used."""
        self._by_network.remove_unused()
        self._attempts.remove_unused()


@lru_cache(maxsize=1_000)
def network(address: str) -> str:
    """Return the address of an IPv4 client, and the /64 network of an IPv6 client, which has many addresses."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped) if parsed.ipv4_mapped else parsed.packed[:8].hex()
    return address


def _address_budget(limits: Limits) -> AddressBudget:
    return AddressBudget(
        connections=Budget("max_connections_per_address", limits.max_connections_per_address),
        unauthenticated_websockets=Budget(
            "max_unauthenticated_websockets_per_address", limits.max_unauthenticated_websockets_per_address
        ),
    )


def _attempt_budget(limits: Limits) -> AttemptBudget:
    return AttemptBudget(
        running=WaitingBudget(_FAILED, _MAX_RUNNING_ATTEMPTS, waiting_limit=_FAILED, max_waiting=_MAX_WAITING_ATTEMPTS),
        failed=RateBudget(_FAILED, limits.max_failed_authentications_per_second),
    )
