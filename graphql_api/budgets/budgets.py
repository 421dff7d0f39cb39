"""The budgets of one submitter and of the whole process: requests, samples, cost, memory, and open connections.

The composition root creates one `Budgets` and passes it to each part with limits.

The response headers `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11) say how much a
submitter may send and how much is left. The endpoints store the allowance of a sender in the ASGI scope of a request.
The middleware that completes the headers of responses reads the allowance from there.
"""

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol

from graphql_api import metrics
from graphql_api.budgets.address_budgets import AddressBudgets
from graphql_api.budgets.budget import Budget, BudgetsByName, RateBudget, WaitingBudget, refusal
from graphql_api.budgets.daily_quota import ChangedQuotas, DailyQuota
from graphql_api.budgets.loop_turns import LoopTurn, LoopTurns
from graphql_api.budgets.memory_budget import MemoryBudget
from graphql_api.limits import KeyLimits, Limits

HEAVY_COST = 10
"""An operation with this cost or more is heavy. Half of the cost of a submitter is for heavy operations."""

BACKLOG_RETRY_SECONDS = 5

_MIB = 2**20
_SCOPE_KEY = "allowance"


class Sender(Protocol):
    """The sender of a request or a sample."""

    @property
    def submitter(self) -> str:
        """The submitter whose documents are used."""

    @property
    def operator(self) -> str:
        """The submitter to which the credential belongs, if this is not `submitter`. Otherwise empty."""

    @property
    def limits(self) -> KeyLimits | None:
        """The limits of the credential, or None if the limits of its submitter apply."""

    @property
    def label(self) -> str:
        """The text by which readers of the submitter recognize the credential."""


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
        self._submitters = BudgetsByName[str, SubmitterBudget](lambda name: _submitter_budget(name, limits, self.turns))
        self.changed_quotas = ChangedQuotas()
        self._allowances = BudgetsByName[str, Allowance](
            lambda name: Allowance(limits, None, name, self.changed_quotas)
        )
        self._allowances_of_keys = BudgetsByName[tuple[str, KeyLimits], Allowance](
            lambda key: Allowance(limits, key[1], key[0], self.changed_quotas)
        )
        for name in vars(limits):
            metrics.limit_refusals(name)

    def submitter(self, name: str) -> "SubmitterBudget":
        """Return the budget of the submitter `name`. Do not keep it while nothing is in use: it can be removed."""
        return self._submitters.of(name)

    def charged(self, sender: Sender) -> "SubmitterBudget":
        """Return the budget of the submitter whose credential `sender` uses. Do not keep it."""
        return self._submitters.of(_charged_submitter(sender))

    def allowance(self, sender: Sender) -> "Allowance":
        """Return the allowance of `sender`. Do not keep it: it can be removed while nothing of it is used."""
        submitter = _charged_submitter(sender)
        if sender.limits is None:
            return self._allowances.of(submitter)
        return self._allowances_of_keys.of((submitter, sender.limits))

    def admit_samples(self, sender: Sender, count: int, byte_count: int) -> None:
        """Let `sender` store samples now. Raises `RateLimited` if a budget is exhausted."""
        self.submitter(sender.submitter).check_backlog()
        self.allowance(sender).admit_samples(count, byte_count)


class Allowance:
    """The requests and samples that the credentials of one submitter, or one key with its own limits, may send."""

    __slots__ = ("_policy_header", "quota", "requests", "sample_bytes", "sample_count")

    def __init__(
        self,
        limits: Limits,
        own: KeyLimits | None,
        submitter: str = "",
        changed_quotas: ChangedQuotas | None = None,
    ) -> None:
        """Apply `limits`. The limits that are set in `own` replace them.

        If the daily quota has changes that are not stored yet, it is in `changed_quotas`.
        """
        self.requests = RateBudget(
            "max_requests_per_second_per_submitter",
            (own and own.requests_per_second) or limits.max_requests_per_second_per_submitter,
            policy="requests",
        )
        self.sample_count = RateBudget(
            "max_samples_per_second_per_submitter",
            (own and own.samples_per_second) or limits.max_samples_per_second_per_submitter,
            policy="sample-count",
        )
        self.sample_bytes = RateBudget(
            "max_sample_mib_per_second_per_submitter",
            ((own and own.sample_mib_per_second) or limits.max_sample_mib_per_second_per_submitter) * _MIB,
            policy="sample-bytes",
        )
        self.quota: DailyQuota | None = None
        max_samples = (own and own.samples_per_day) or limits.max_samples_per_day_per_submitter
        max_mib = (own and own.sample_mib_per_day) or limits.max_sample_mib_per_day_per_submitter
        if max_samples or max_mib:
            self.quota = DailyQuota(
                submitter,
                "" if own is None else own.name,
                max_samples=max_samples,
                max_bytes=max_mib * _MIB,
                changed=ChangedQuotas() if changed_quotas is None else changed_quotas,
            )
        policies = [
            f'"requests";q={self.requests.per_second};w=1',
            f'"sample-count";q={self.sample_count.per_second};w=1;dropzone-unit="samples"',
            f'"sample-bytes";q={self.sample_bytes.per_second};w=1;qu="content-bytes"',
            *(self.quota.policies if self.quota else ()),
        ]
        self._policy_header = b"ratelimit-policy", ", ".join(policies).encode()

    def admit_request(self) -> None:
        """Count a request. Raises `QuotaExceeded` if there were too many."""
        self.requests.take()

    def admit_samples(self, count: int, byte_count: int) -> None:
        """Count samples. Raises `QuotaExceeded`, and counts nothing, if there were too many before."""
        quota = self.quota
        if quota is not None:
            quota.check(count, byte_count)
        self.sample_bytes.check()
        self.sample_count.take(count)
        self.sample_bytes.take(byte_count)
        if quota is not None:
            quota.add(count, byte_count)

    @property
    def delay_seconds(self) -> float:
        """The number of seconds until `admit_samples` succeeds. 0 if it succeeds now."""
        return max(self.sample_count.delay_seconds, self.sample_bytes.delay_seconds)

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
        """The headers `RateLimit-Policy` and `RateLimit` of a response that starts now."""
        left = self.requests.refill(), self.sample_count.refill(), self.sample_bytes.refill()
        if min(left) > 0:  # the next request is allowed, and the budget is full again within a second
            value = b'"requests";r=%d;t=1, "sample-count";r=%d;t=1, "sample-bytes";r=%d;t=1' % left
        else:
            budgets = self.requests, self.sample_count, self.sample_bytes
            items = (f'"{each.policy}";r={max(0, int(each.refill()))};t={each.wait_seconds}' for each in budgets)
            value = ", ".join(items).encode()
        if self.quota is not None:
            value = b", ".join([value, *(item.encode() for item in self.quota.items)])
        return self._policy_header, (b"ratelimit", value)

    @property
    def is_unused(self) -> bool:
        """Whether this allowance is the same as a new one."""
        is_full = self.requests.is_full and self.sample_count.is_full and self.sample_bytes.is_full
        return is_full and (self.quota is None or not self.quota.used.samples)


@dataclass(slots=True)
class SubmitterBudget:
    """The budget of one submitter in this process."""

    name: str

    light_cost: WaitingBudget
    """Cost units of the light operations in progress, such as submissions."""

    heavy_cost: WaitingBudget
    """Cost units of the heavy operations in progress. Light operations do not wait for them."""

    request_bytes: Budget
    """Bytes of large requests in memory, after decompression."""

    pending_samples: Budget
    """Stored samples without a result."""

    websockets: Budget
    subscriptions: Budget

    turns: LoopTurns

    def turn(self) -> LoopTurn:
        """Return a turn for long work of this submitter on the event loop. The first step of the turn starts now."""
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


def announce(scope: MutableMapping[str, Any], allowance: Allowance) -> None:
    """Store the allowance of the sender of a request, so that the headers of the response contain it."""
    scope[_SCOPE_KEY] = allowance


def announced(scope: MutableMapping[str, Any]) -> Allowance | None:
    """Return the allowance of the sender of a request, or None if none is announced."""
    allowance = scope.get(_SCOPE_KEY)
    return allowance if isinstance(allowance, Allowance) else None


def _charged_submitter(sender: Sender) -> str:
    """Return the submitter to which the credential of `sender` belongs. Its limits apply."""
    return sender.operator or sender.submitter


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
