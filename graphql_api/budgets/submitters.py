"""The budgets of one submitter. All requests, WebSockets and subscriptions of a submitter share them."""

from dataclasses import dataclass

from graphql_api.budgets.budget import Budget, RateBudget, WaitingBudget
from graphql_api.budgets.loop_turns import LoopTurn, LoopTurns
from graphql_api.limits import Limits

HEAVY_COST = 10
"""From this cost on, an operation is heavy. Half of the cost of a submitter is for heavy operations."""

_MIN_SWEEP_SUBMITTERS = 1_000
"""Unused budgets are removed when this many submitters are known, and again when their number has doubled."""


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

    samples: RateBudget
    """Samples sent."""

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
        return not any(budget.used for budget in in_use) and self.samples.is_full


class SubmitterBudgets:
    """The budgets of all submitters that use something now."""

    def __init__(self, limits: Limits, turns: LoopTurns) -> None:
        """Create a budget for each submitter on its first use."""
        self._limits = limits
        self._turns = turns
        self._budgets: dict[str, SubmitterBudget] = {}
        self._sweep_at = _MIN_SWEEP_SUBMITTERS

    def of(self, submitter: str) -> SubmitterBudget:
        """Return the budget of `submitter`. Do not keep it while nothing is in use: unused budgets are removed."""
        budget = self._budgets.get(submitter)
        if budget is None:
            self._sweep()
            budget = self._budgets[submitter] = self._new(submitter)
        return budget

    def _new(self, submitter: str) -> SubmitterBudget:
        limits = self._limits
        return SubmitterBudget(
            name=submitter,
            light_cost=self._new_cost(),
            heavy_cost=self._new_cost(),
            request_bytes=Budget("max_request_mib_per_submitter", limits.max_request_mib_per_submitter * 2**20),
            samples=RateBudget("max_samples_per_second_per_submitter", limits.max_samples_per_second_per_submitter),
            pending_samples=Budget("max_pending_samples_per_submitter", limits.max_pending_samples_per_submitter),
            websockets=Budget("max_websockets_per_submitter", limits.max_websockets_per_submitter),
            subscriptions=Budget("max_subscriptions_per_submitter", limits.max_subscriptions_per_submitter),
            turns=self._turns,
        )

    def _new_cost(self) -> WaitingBudget:
        limits = self._limits
        return WaitingBudget(
            "max_cost_per_submitter",
            max(1, limits.max_cost_per_submitter // 2),
            waiting_limit="max_waiting_operations_per_submitter",
            max_waiting=limits.max_waiting_operations_per_submitter,
        )

    def _sweep(self) -> None:
        if len(self._budgets) >= self._sweep_at:
            self._budgets = {key: budget for key, budget in self._budgets.items() if not budget.is_unused}
            self._sweep_at = max(_MIN_SWEEP_SUBMITTERS, 2 * len(self._budgets))
