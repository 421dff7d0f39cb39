"""All budgets of the process. The composition root creates one instance and passes it to each part with limits."""

from graphql_api import metrics
from graphql_api.budgets.addresses import AddressBudgets
from graphql_api.budgets.budget import Budget
from graphql_api.budgets.loop_turns import LoopTurns
from graphql_api.budgets.memory_budget import MemoryBudget
from graphql_api.budgets.submitters import SubmitterBudget, SubmitterBudgets
from graphql_api.limits import Limits

_MIB = 2**20


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
        self._submitters = SubmitterBudgets(limits, self.turns)
        for name in vars(limits):
            metrics.limit_refusals(name)

    def submitter(self, name: str) -> SubmitterBudget:
        """Return the budget of the submitter `name`."""
        return self._submitters.of(name)
