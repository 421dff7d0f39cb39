"""The interface of the context of an operation, for the GraphQL server, and of the function that creates it."""

from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from graphql_api.budgets.allowance import Allowance
from graphql_api.budgets.budgets import SubmitterBudget
from graphql_api.graphql_server.requests.request_headers import Credential


class OperationContext(Protocol):
    """The context of one operation, for an authenticated client."""

    @property
    def budget(self) -> SubmitterBudget:
        """The budget of the submitter of the client. Do not store it: an unused budget is removed."""

    @property
    def allowance(self) -> Allowance:
        """The allowance of the client: the requests and samples that it may send."""

    def end_reads(self, response_bytes: int = 0) -> None:
        """Discard what the operation has read, because its response is ready or sent.

        Until the next call, memory for a large response of `response_bytes` is reserved. Raises `RateLimited` or
        `Unavailable` if too many large responses are not sent yet.
        """

    def check_response(self, byte_count: int) -> None:
        """Raise `TooComplex` if lists of `byte_count` bytes are too large for a response."""

    def fields_with_documents(self) -> Collection[str]:
        """Return the root fields of the response that contain large submitted documents."""


Authenticate = Callable[[Credential], Awaitable[OperationContext]]
"""Returns the context of one operation for a credential. Raises `Unauthenticated`."""
