"""The budgets of one address: connections, and requests with keys that are not known to be valid."""

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from graphql_api.budgets.budget import Budget, BudgetsByName, RateBudget, WaitingBudget
from graphql_api.limits import Limits

_FAILED = "max_failed_authentications_per_second"
_MAX_KEY_READS = 10
_MAX_WAITING_KEY_READS = 1_000


@dataclass(slots=True)
class AddressBudget:
    """The budget of one address. An address is an IPv4 address or the first 64 bits of an IPv6 address."""

    connections: Budget

    unauthenticated_websockets: Budget
    """WebSockets whose clients have not authenticated themselves yet. They are also connections."""

    key_reads: WaitingBudget
    """Reads of keys that are not known to be valid."""

    token_checks: WaitingBudget
    """First checks of access tokens, and sign-ins. Separate from `key_reads`, because a provider can be slow."""

    failed_authentications: RateBudget

    @property
    def is_unused(self) -> bool:
        """Whether this budget is the same as a new one."""
        waits = self.key_reads, self.token_checks
        in_use = self.connections.used or any(budget.used or budget.waiting for budget in waits)
        return not in_use and self.failed_authentications.is_full


class AddressBudgets:
    """The budgets of all addresses."""

    def __init__(self, limits: Limits) -> None:
        self._by_network = BudgetsByName[str, AddressBudget](lambda _: _address_budget(limits))

    def __len__(self) -> int:
        return len(self._by_network)

    def of(self, address: str) -> AddressBudget:
        """Return the budget of the IP address `address`. All texts that are not IP addresses share one budget."""
        return self._by_network.of(network(address))

    def remove_unused(self) -> None:
        """Free the memory of the budgets of which nothing is used."""
        self._by_network.remove_unused()


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
    def waiting() -> WaitingBudget:
        return WaitingBudget(_FAILED, _MAX_KEY_READS, waiting_limit=_FAILED, max_waiting=_MAX_WAITING_KEY_READS)

    return AddressBudget(
        connections=Budget("max_connections_per_address", limits.max_connections_per_address),
        unauthenticated_websockets=Budget(
            "max_unauthenticated_websockets_per_address", limits.max_unauthenticated_websockets_per_address
        ),
        key_reads=waiting(),
        token_checks=waiting(),
        failed_authentications=RateBudget(_FAILED, limits.max_failed_authentications_per_second),
    )
