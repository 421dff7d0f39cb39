"""All budgets of the process: of each IP address, of each submitter, and of the whole process.

The composition root creates one `Budgets` and passes it to each part with limits.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Generic, Protocol, TypeVar

from graphql_api import metrics
from graphql_api.budgets.allowance import Allowance, Sender
from graphql_api.budgets.budget import Budget, MemoryBudget, RateBudget, WaitingBudget, refusal
from graphql_api.budgets.daily_quota import ChangedQuotas
from graphql_api.budgets.loop_turns import LoopTurn, LoopTurns
from graphql_api.limits import KeyLimits, Limits

HEAVY_COST = 10
"""From this cost on, an operation is heavy. Half of the cost of a submitter is for heavy operations."""

BACKLOG_RETRY_SECONDS = 5

_FAILED = "max_failed_authentications_per_second"
_MAX_KEY_READS = 10
_MAX_WAITING_KEY_READS = 1_000

_MIN_SWEEP_BUDGETS = 1_000
"""Unused budgets are removed when there are this many budgets, and again when their number has doubled."""

_MIB = 2**20


class _Removable(Protocol):
    @property
    def is_unused(self) -> bool:
        """Whether this budget is the same as a new one."""


K = TypeVar("K", bound=Hashable)
B = TypeVar("B", bound=_Removable)


class Budgets:
    """The budgets of addresses, of submitters and of the whole process."""

    def __init__(self, limits: Limits) -> None:
        """Create budgets in which nothing is used."""
        self.connections = Budget("max_connections", limits.max_connections)
        self.memory = MemoryBudget(
            limits.max_large_requests_mib * _MIB, max_resident_bytes=limits.max_memory_mib * _MIB
        )
        self.turns = LoopTurns()
        self.addresses = AddressBudgets(limits)
        self._submitters = _BudgetsByName[str, SubmitterBudget](
            lambda name: _submitter_budget(name, limits, self.turns)
        )
        self.changed_quotas = ChangedQuotas()
        self._allowances = _BudgetsByName[str, Allowance](
            lambda name: Allowance(limits, None, name, self.changed_quotas)
        )
        self._allowances_of_keys = _BudgetsByName[tuple[str, KeyLimits], Allowance](
            lambda key: Allowance(limits, key[1], key[0], self.changed_quotas)
        )
        for name in vars(limits):
            metrics.limit_refusals(name)

    def submitter(self, name: str) -> "SubmitterBudget":
        """Return the budget of the submitter `name`. Do not keep it while nothing is in use: it can be removed."""
        return self._submitters.of(name)

    def allowance(self, sender: Sender) -> Allowance:
        """Return what `sender` may send. Do not keep it: it can be removed while all of it is left."""
        if sender.limits is None:
            return self._allowances.of(sender.charged_submitter)
        return self._allowances_of_keys.of((sender.charged_submitter, sender.limits))

    def admit_samples(self, sender: Sender, count: int, byte_count: int) -> None:
        """Let `sender` store samples now. Raises `RateLimited` if a budget is exhausted."""
        self.submitter(sender.submitter).check_backlog()
        self.allowance(sender).admit_samples(count, byte_count)


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


@dataclass(slots=True)
class SubmitterBudget:
    """What one submitter uses in this process."""

    name: str

    light_cost: WaitingBudget
    """Cost units of the light operations that are executed, such as submissions."""

    heavy_cost: WaitingBudget
    """Cost units of the heavy operations that are executed. Light operations do not wait for them."""

    request_bytes: Budget
    """Bytes of large requests in memory, after decompression."""

    pending_samples: Budget
    """Stored samples without a result."""

    websockets: Budget
    subscriptions: Budget

    turns: LoopTurns

    def turn(self) -> LoopTurn:
        """Return a turn for long work of this submitter on the event loop. Its first step starts now."""
        return self.turns.of(self.name)

    def cost(self, amount: int) -> WaitingBudget:
        """Return the budget for an operation that costs `amount`."""
        return self.heavy_cost if amount >= HEAVY_COST else self.light_cost

    @property
    def has_full_backlog(self) -> bool:
        """Whether no sample may be stored until other samples have results."""
        return self.pending_samples.used >= self.pending_samples.max_amount

    def check_backlog(self) -> None:
        """Raise `RateLimited` if no sample may be stored until other samples have results."""
        if self.has_full_backlog:
            pending = self.pending_samples
            raise refusal(pending.limit, f"at most {pending.max_amount:,} without a result", BACKLOG_RETRY_SECONDS)

    @property
    def is_unused(self) -> bool:
        """Whether this budget is the same as a new one."""
        in_use = (
            self.light_cost,
            self.heavy_cost,
            self.request_bytes,
            self.pending_samples,
            self.websockets,
            self.subscriptions,
        )
        return not any(budget.used for budget in in_use)


class _BudgetsByName(Generic[K, B]):
    """The budgets of all addresses, or of all submitters, that use something now."""

    def __init__(self, create: Callable[[K], B]) -> None:
        """Create a budget with `create` on the first use of its name."""
        self._create = create
        self._budgets: dict[K, B] = {}
        self._sweep_at = _MIN_SWEEP_BUDGETS

    def __len__(self) -> int:
        return len(self._budgets)

    def of(self, name: K) -> B:
        budget = self._budgets.get(name)
        if budget is None:
            self._sweep()
            budget = self._budgets[name] = self._create(name)
        return budget

    def _sweep(self) -> None:
        if len(self._budgets) >= self._sweep_at:
            self._budgets = {name: budget for name, budget in self._budgets.items() if not budget.is_unused}
            self._sweep_at = max(_MIN_SWEEP_BUDGETS, 2 * len(self._budgets))


class AddressBudgets:
    """The budgets of all addresses."""

    def __init__(self, limits: Limits) -> None:
        self._by_network = _BudgetsByName[str, AddressBudget](lambda _: _address_budget(limits))

    def __len__(self) -> int:
        return len(self._by_network)

    def of(self, address: str) -> AddressBudget:
        """Return the budget of the IP address `address`. Text that is not an IP address shares one budget."""
        return self._by_network.of(network(address))


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
        key_reads=WaitingBudget(_FAILED, _MAX_KEY_READS, waiting_limit=_FAILED, max_waiting=_MAX_WAITING_KEY_READS),
        failed_authentications=RateBudget(_FAILED, limits.max_failed_authentications_per_second),
    )


def _submitter_budget(name: str, limits: Limits, turns: LoopTurns) -> SubmitterBudget:
    return SubmitterBudget(
        name=name,
        light_cost=_cost_budget(limits),
        heavy_cost=_cost_budget(limits),
        request_bytes=Budget("max_request_mib_per_submitter", limits.max_request_mib_per_submitter * _MIB),
        pending_samples=Budget("max_pending_samples_per_submitter", limits.max_pending_samples_per_submitter),
        websockets=Budget("max_websockets_per_submitter", limits.max_websockets_per_submitter),
        subscriptions=Budget("max_subscriptions_per_submitter", limits.max_subscriptions_per_submitter),
        turns=turns,
    )


def _cost_budget(limits: Limits) -> WaitingBudget:
    return WaitingBudget(
        "max_cost_per_submitter",
        max(1, limits.max_cost_per_submitter // 2),
        waiting_limit="max_waiting_operations_per_submitter",
        max_waiting=limits.max_waiting_operations_per_submitter,
    )
