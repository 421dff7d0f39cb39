"""The GraphQL endpoint: a schema and an authentication function become routes of an application."""

from graphql import GraphQLSchema
from starlette.routing import BaseRoute, Route, WebSocketRoute

from graphql_api.graphql_server.execution.executor import Executor
from graphql_api.graphql_server.memory_budget import MemoryBudget
from graphql_api.graphql_server.protocols.http import HTTPEndpoint, Page
from graphql_api.graphql_server.protocols.websocket import WebSocketEndpoint
from graphql_api.graphql_server.revocation import Authenticate
from graphql_api.graphql_server.settings import GraphQLSettings


class GraphQLEndpoint:
    """Serves one schema at one path.

    `authenticate` is called for every operation, so its context may hold what belongs to one operation, for example
    data loaders. It is also called every few seconds while a stream or WebSocket is open: an API key that is revoked
    or expires ends them.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        authenticate: Authenticate,
        settings: GraphQLSettings,
        page: Page,
        memory_budget: MemoryBudget,
        path: str = "/graphql",
    ) -> None:
        executor = Executor(schema, settings)
        self._http = HTTPEndpoint(executor, authenticate, settings, page, memory_budget)
        self._websocket = WebSocketEndpoint(executor, authenticate, settings)
        self._path = path

    @property
    def routes(self) -> list[BaseRoute]:
        """The routes for a Starlette application."""
        return [Route(self._path, self._http), WebSocketRoute(self._path, self._websocket)]

    def end_streams(self) -> None:
        """End the open event streams so that their clients reconnect. The server closes WebSockets itself."""
        self._http.end_streams()
