"""An HTTP endpoint: a route, and the scope that a caller of this route needs.

`endpoint` declares a scope, which is checked before the handler runs. `public` declares a route without such a check.
The application consists of endpoints only, so every route has one of these two declarations.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Send
from starlette.types import Scope as ASGIScope

from graphql_api.auth.authenticator import Authenticator
from graphql_api.auth.caller import Caller, missing_scope
from graphql_api.budgets.allowance import set_allowance
from graphql_api.budgets.budgets import Budgets, SubmitterBudget
from graphql_api.credential_errors import NoCredential
from graphql_api.graphql_server.requests import request_headers
from graphql_api.scopes import Scope
from observability import request_context

Handler = Callable[[Request, Caller], Awaitable[Response]]


class Services(Protocol):
    """The services that every endpoint uses. The application creates the services when it starts."""

    authenticator: Authenticator
    budgets: Budgets


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A route, and the scope that the route requires. The scope is None if the route is public."""

    route: BaseRoute
    scope: Scope | None


def endpoint(path: str, handler: Handler, *, method: str, scope: Scope, services: Services, cost: int = 1) -> Endpoint:
    """Return an endpoint that calls `handler` for a caller with `scope` and rejects every other caller.

    While the handler runs, it uses `cost` units of the caller's budget, like an operation of GraphQL.
    """
    return Endpoint(Route(path, _EndpointApp(handler, scope, services, cost), methods=[method]), scope)


def public(route: BaseRoute) -> Endpoint:
    """Return an endpoint without a scope. The route is open to all clients, or it checks scopes itself like GraphQL."""
    return Endpoint(route, None)


class _EndpointApp:
    """The ASGI application of one endpoint. It counts a request as in progress until its response is sent."""

    def __init__(self, handler: Handler, scope: Scope, services: Services, cost: int) -> None:
        self._handler = handler
        self._scope = scope
        self._services = services
        self._cost = cost

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        caller = await self._admit(request)
        budget = self._services.budgets.charged(caller)
        with budget.connections.hold():
            response = await self._respond(request, caller, budget)
            await response(scope, receive, send)

    async def _admit(self, request: Request) -> Caller:
        """Return the caller of a request, and count the request."""
        try:
            caller = await self._services.authenticator.authenticate(request_headers.credential(request.scope))
        except NoCredential as error:
            error.scope = self._scope
            raise
        request_context.set_submitter(caller.submitter)
        allowance = self._services.budgets.allowance(caller)
        set_allowance(request.scope, allowance)
        allowance.admit_request()
        if self._scope not in caller.scopes:
            raise missing_scope(self._scope, caller)
        return caller

    async def _respond(self, request: Request, caller: Caller, budget: SubmitterBudget) -> Response:
        cost_budget, units = budget.cost(self._cost)
        await cost_budget.take(units)
        try:
            return await self._handler(request, caller)
        finally:
            cost_budget.give_back(units)
