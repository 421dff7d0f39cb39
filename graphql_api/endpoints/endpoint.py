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

from graphql_api.auth.authenticator import Authenticator
from graphql_api.auth.scopes import Caller, Scope, missing_scope
from graphql_api.budgets.budgets import Budgets
from graphql_api.graphql_server import request_headers

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

    async def handle(request: Request) -> Response:
        caller = await services.authenticator.authenticate(request_headers.credential(request.scope))
        if scope not in caller.scopes:
            raise missing_scope(scope)
        budget = services.budgets.submitter(caller.submitter).cost(cost)
        await budget.take(cost)
        try:
            return await handler(request, caller)
        finally:
            budget.give_back(cost)

    return Endpoint(Route(path, handle, methods=[method]), scope)


def public(route: BaseRoute) -> Endpoint:
    """Return an endpoint without a scope. The route is open to all clients, or it checks scopes itself like GraphQL."""
    return Endpoint(route, None)
