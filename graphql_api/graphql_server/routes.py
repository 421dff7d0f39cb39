"""The transport put together: a schema and a way to tell who is asking become routes of an application.

`context` is called for every operation, whatever carries it, so a context may hold what belongs to one
operation alone, such as loaders; and again every few seconds for as long as a stream or a socket is open, so
that a key which is revoked or expires ends them. `close` belongs into whatever stops the server.
"""

from graphql import GraphQLSchema
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from graphql_api.graphql_server.credentials import Authenticate
from graphql_api.graphql_server.execution.executor import Executor
from graphql_api.graphql_server.memory_budget import Capacity
from graphql_api.graphql_server.protocols.http import HTTPEndpoint, Page
from graphql_api.graphql_server.protocols.websocket import WebSocketEndpoint
from graphql_api.graphql_server.settings import TransportSettings


class GraphQLTransport:
    """Serves one schema at one path."""

    def __init__(
        self,
        schema: GraphQLSchema,
        context: Authenticate,
        settings: TransportSettings,
        page: Page,
        capacity: Capacity,
        path: str = "/graphql",
    ) -> None:
        executor = Executor(schema, settings)
        self._http = HTTPEndpoint(executor, context, settings, page, capacity)
        self._websocket = WebSocketEndpoint(executor, context, settings)
        self._path = path

    @property
    def routes(self) -> list[BaseRoute]:
        """The routes to add to a Starlette application."""
        return [Route(self._path, self._http), WebSocketRoute(self._path, self._websocket)]

    def ahead(self, app: ASGIApp) -> ASGIApp:
        """Return a middleware that answers here what its application would lead here through all its routes."""

        async def shortcut(scope: Scope, receive: Receive, send: Send) -> None:
            answers = self._http if scope["type"] == "http" and scope["path"] == self._path else app
            await answers(scope, receive, send)

        return shortcut

    async def close(self) -> None:
        """End the open streams, telling their clients to come back; WebSockets are the server's to close."""
        await self._http.close()
