"""An HTTP endpoint: a route, and the scope that its callers need.

`endpoint` declares a scope and checks it before the handler runs. `public` declares that a route needs no
credential. The application is built from endpoints only, so no route is without a declaration.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from graphql_api.auth.authenticator import Authenticator
from graphql_api.auth.scopes import Caller, Scope, missing_scope
from graphql_api.graphql_server import request_headers

Handler = Callable[[Request, Caller], Awaitable[Response]]


class Services(Protocol):
    """What every endpoint needs. The application sets it when it starts."""

    authenticator: Authenticator


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A route and the scope that it requires, or None if it is public."""

    route: BaseRoute
    scope: Scope | None


def endpoint(path: str, handler: Handler, *, method: str, scope: Scope, services: Services) -> Endpoint:
    """Return an endpoint that calls `handler` for callers with `scope` and rejects all others."""

    async def handle(request: Request) -> Response:
        caller = await services.authenticator.authenticate(request_headers.credential(request["headers"]))
        if scope not in caller.scopes:
            raise missing_scope(scope)
        return await handler(request, caller)

    return Endpoint(Route(path, handle, methods=[method]), scope)


def public(route: BaseRoute) -> Endpoint:
    """Return an endpoint that serves all clients, or that checks credentials itself, as GraphQL does."""
    return Endpoint(route, None)
