"""The budgets of one submitter and of the whole process: requests, samples, cost, memory, and open connections.

The composition root creates one `Budgets` and passes it to each part with limits.
"""

from dataclasses import dataclass, fields
from typing import Protocol

from graphql_api import metrics
from graphql_api.budgets.address_budgets import AddressBudgets
from graphql_api.budgets.allowance import Allowance
from graphql_api.budgets.budget import Budget, BudgetsByName, WaitingBudget, refusal
from graphql_api.budgets.daily_quota import ChangedQuotas
from graphql_api.budgets.loop_turns import LoopTurn, LoopTurns
from graphql_api.budgets.memory_budget import MemoryBudget
from graphql_api.budgets.request_turns import RequestTurns
from graphql_api.configuration.limits import KeyLimits, Limits

HEAVY_COST = 10
"""An operation with this cost or more is heavy. Half of the cost of a submitter is for heavy operations."""

_MAX_HEAVY_OPERATIONS = 16
"""The number of heavy operations of a submitter that may be executed at the same time, even if they cost little.

The same applies to the events of its subscriptions. More operations would delay other submitters in the database.
"""

_MAX_CORRECTIONS = 8
"""The number of corrections of a submitter that may be stored at the same time.

Each correction is a Commit of its own. With 64 Commits in flight, submissions of others took six times as long.
"""

BACKLOG_RETRY_SECONDS = 5

_MIB = 2**20


class Sender(Protocol):
    """The sender of a request or a sample."""

    @property
    def submitter(self) -> str:
        """The submitter whose documents are used."""

    @property
    def operator(self) -> str:
        """The submitter that owns the credential, if it reads the documents of another submitter. Otherwise empty."""

    @property
    def limits(self) -> KeyLimits | None:
        """The limits of the credential, or None if the limits of its submitter apply."""

    @property
    def label(self) -> str:
        """The label of the credential, which `submittedBy` shows to clients of the submitter."""


class Budgets:
    """The budgets of addresses, of submitters and of the whole process."""

    def __init__(self, limits: Limits) -> None:
        """Create budgets in which nothing is used."""
        self.limits = limits
        self.connections = Budget("max_connections", limits.max_connections)
        self.memory = MemoryBudget(
            limits.max_large_requests_mib * _MIB, max_resident_bytes=limits.max_memory_mib * _MIB
        )
        self.turns = LoopTurns()
        self.request_turns = RequestTurns()
        self.addresses = AddressBudgets(limits)
        self._submitters = BudgetsByName[str, SubmitterBudget](
            lambda name: _submitter_budget(name, limits, self.turns, self.request_turns)
        )
        self.changed_quotas = ChangedQuotas()
        self._allowances = BudgetsByName[str, Allowance](
            lambda name: Allowance(limits, None, name, self.changed_quotas)
        )
        self._allowances_of_keys = BudgetsByName[tuple[str, str], Allowance](
            lambda key: Allowance(limits, KeyLimits(name=key[1]), key[0], self.changed_quotas)
        )
        """By the submitter, and the name of the limits."""
        for name in vars(limits):
            metrics.limit_refusals(name)

    def submitter(self, name: str) -> "SubmitterBudget":
        """Return the budget of the submitter `name`. Do not store it: an unused budget is removed."""
        return self._submitters.of(name)

    def charged(self, sender: Sender) -> "SubmitterBudget":
        """Return the budget of the submitter whose credential `sender` uses. Do not store it."""
        return self._submitters.of(_charged_submitter(sender))

    def allowance(self, sender: Sender) -> "Allowance":
        """Return the allowance of `sender`. Do not store it: an unused allowance is removed."""
        submitter = _charged_submitter(sender)
        if sender.limits is None:
            return self._allowances.of(submitter)
        allowance = self._allowances_of_keys.of((submitter, sender.limits.name))
        allowance.set_limits(sender.limits)
        return allowance

    def remove_unused(self) -> None:
        """Free the memory of the budgets of which nothing is used."""
        for budgets in (self.addresses, self._submitters, self._allowances, self._allowances_of_keys):
            budgets.remove_unused()

    def admit_samples(self, sender: Sender, count: int, byte_count: int) -> None:
        """Let `sender` store samples now. Raises `RateLimited` if a budget is exhausted."""
        self.submitter(sender.submitter).check_backlog()
        self.allowance(sender).admit_samples(count, byte_count)


@dataclass(slots=True)
class SubmitterBudget:
    """The budget of one submitter in this process."""

    name: str

    light_cost: WaitingBudget
    """Cost units of the light operations in progress, such as submissions."""

    heavy_cost: WaitingBudget
    """Cost units of the heavy operations in progress. Light operations do not wait for them."""

    event_cost: WaitingBudget
    """Cost units of the events that subscriptions execute."""

    request_bytes: Budget
    """Bytes of large requests in memory, after decompression."""

    uploads: Budget
    """Bodies over 64 KiB that are being received."""

    exports: WaitingBudget
    """Exports that are being sent."""

    replays: WaitingBudget
    """Subscriptions that read stored results."""

    large_reads: WaitingBudget
    """Operations that read large raw documents."""

    corrections: WaitingBudget
    """Samples that correct other samples, and are being stored."""

    pending_samples: Budget
    """Stored samples without a result."""

    connections: Budget
    """Connections with a request in progress, including open streams and WebSockets."""

    websockets: Budget
    subscriptions: Budget

    turns: LoopTurns
    request_turns: RequestTurns

    async def wait_to_start(self) -> None:
        """Return when a request of this submitter may start."""
        await self.request_turns.wait(lambda: self.name)

    def turn(self) -> LoopTurn:
        """Return a turn for long work of this submitter on the event loop. The first step of the turn starts now."""
        return self.turns.of(self.name)

    def cost(self, amount: int) -> tuple[WaitingBudget, int]:
        """Return the budget for an operation that costs `amount`, and the units that the operation uses of it."""
        if amount < HEAVY_COST:
            return self.light_cost, amount
        return self.heavy_cost, max(amount, self.min_heavy_cost)

    @property
    def min_heavy_cost(self) -> int:
        """The minimum number of units that a heavy operation or an event uses."""
        return max(1, self.heavy_cost.max_amount // _MAX_HEAVY_OPERATIONS)

    @property
    def has_full_backlog(self) -> bool:
        """Whether no sample may be stored until other samples have results."""
        return self.pending_samples.used >= self.pending_samples.max_amount

    def check_backlog(self) -> None:
        """Raise `RateLimited` if no sample may be stored until other samples have results."""
        if self.has_full_backlog:
            pending = self.pending_samples
            raise refusal(
                pending.limit, f"at most {pending.max_amount:,} samples without a result", BACKLOG_RETRY_SECONDS
            )

    @property
    def is_unused(self) -> bool:
        """Whether this budget is the same as a new one."""
        return not any(getattr(self, name).used for name in _USED_BUDGETS)


_USED_BUDGETS = [each.name for each in fields(SubmitterBudget) if each.type in (Budget, WaitingBudget)]
"""The fields of `SubmitterBudget` with an amount in use."""


def _charged_submitter(sender: Sender) -> str:
    """Return the submitter to which the credential of `sender` belongs. Its limits apply."""
    return sender.operator or sender.submitter


def _submitter_budget(name: str, limits: Limits, turns: LoopTurns, request_turns: RequestTurns) -> SubmitterBudget:
    operations = limits.max_waiting_operations_per_submitter
    return SubmitterBudget(
        name=name,
        light_cost=_cost_budget(limits, operations),
        heavy_cost=_cost_budget(limits, operations),
        event_cost=_cost_budget(limits, limits.max_subscriptions_per_submitter),
        request_bytes=Budget(
            "max_large_requests_mib_per_submitter", limits.max_large_requests_mib_per_submitter * _MIB
        ),
        uploads=Budget("max_uploads_per_submitter", limits.max_uploads_per_submitter),
        exports=_slots("max_exports_per_submitter", limits.max_exports_per_submitter, operations),
        replays=_slots(
            "max_replays_per_submitter", limits.max_replays_per_submitter, limits.max_subscriptions_per_submitter
        ),
        large_reads=_slots("max_large_reads_per_submitter", limits.max_large_reads_per_submitter, operations),
        corrections=_slots("max_cost_per_submitter", _MAX_CORRECTIONS, operations),
        pending_samples=Budget("max_pending_samples_per_submitter", limits.max_pending_samples_per_submitter),
        connections=Budget("max_connections_per_submitter", limits.max_connections_per_submitter),
        websockets=Budget("max_websockets_per_submitter", limits.max_websockets_per_submitter),
        subscriptions=Budget("max_subscriptions_per_submitter", limits.max_subscriptions_per_submitter),
        turns=turns,
        request_turns=request_turns,
    )


def _cost_budget(limits: Limits, max_waiting: int) -> WaitingBudget:
    return WaitingBudget(
        "max_cost_per_submitter",
        max(1, limits.max_cost_per_submitter // 2),
        waiting_limit="max_waiting_operations_per_submitter",
        max_waiting=max_waiting,
    )


def _slots(limit: str, number: int, max_waiting: int) -> WaitingBudget:
    return WaitingBudget(limit, number, waiting_limit="max_waiting_operations_per_submitter", max_waiting=max_waiting)
