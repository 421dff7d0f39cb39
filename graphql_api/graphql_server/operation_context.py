"""What the GraphQL server needs to know about the context of an operation. Resolvers get the same context."""

from typing import Protocol

from graphql_api.budgets.budgets import Allowance, SubmitterBudget


class OperationContext(Protocol):
    """The context of one operation, for an authenticated client."""

    @property
    def budget(self) -> SubmitterBudget:
        """What the submitter of the client uses. Do not keep it while nothing is in use."""

    @property
    def allowance(self) -> Allowance:
        """What the client may send."""
