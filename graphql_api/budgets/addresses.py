"""The budgets of one IP address, for clients that are not authenticated yet."""

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from graphql_api.budgets.budget import Budget, RateBudget, WaitingBudget
from graphql_api.limits import Limits

_FAILED = "max_failed_authentications_per_second"
_MAX_KEY_READS = 10
_MAX_WAITING_KEY_READS = 1_000

_MIN_SWEEP_ADDRESSES = 1_000
"""Unused budgets are removed when this many addresses are known, and again when their number has doubled."""


@dataclass(slots=True)
class AddressBudget:
    """What one address uses. An address is an IPv4 address or the first 64 bits of an IPv6 address."""

    connections: Budget

    key_reads: WaitingBudget
    """Reads of keys that are not known to be valid."""

    failed_authentications: RateBudget

    @property
    def is_unused(self) -> bool:
        """Whether this budget is the same as a new one."""
        in_use = self.connections.used or self.key_reads.used or self.key_reads.waiting
        return not in_use and self.failed_authentications.is_full


class AddressBudgets:
    """The budgets of all addresses that use something now."""

    def __init__(self, limits: Limits) -> None:
        """Create a budget for each address on its first use."""
        self._limits = limits
        self._budgets: dict[str, AddressBudget] = {}
        self._sweep_at = _MIN_SWEEP_ADDRESSES

    def __len__(self) -> int:
        return len(self._budgets)

    def of(self, address: str) -> AddressBudget:
        """Return the budget of the IP address `address`. Text that is not an IP address shares one budget."""
        key = network(address)
        budget = self._budgets.get(key)
        if budget is None:
            self._sweep()
            budget = self._budgets[key] = AddressBudget(
                Budget("max_connections_per_address", self._limits.max_connections_per_address),
                WaitingBudget(_FAILED, _MAX_KEY_READS, waiting_limit=_FAILED, max_waiting=_MAX_WAITING_KEY_READS),
                RateBudget(_FAILED, self._limits.max_failed_authentications_per_second),
            )
        return budget

    def _sweep(self) -> None:
        if len(self._budgets) >= self._sweep_at:
            self._budgets = {key: budget for key, budget in self._budgets.items() if not budget.is_unused}
            self._sweep_at = max(_MIN_SWEEP_ADDRESSES, 2 * len(self._budgets))


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
