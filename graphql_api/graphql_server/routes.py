"""The GraphQL endpoint: serves a schema as routes of a Starlette application."""

from graphql import GraphQLSchema
from starlette.routing import BaseRoute, Route, WebSocketRoute

from graphql_api.budgets.memory_budget import MemoryBudget
from graphql_api.credential_errors import FOR_KEYS, Challenges
from graphql_api.graphql_server.execution.executor import Executor
from graphql_api.graphql_server.operation_context import Authenticate
from graphql_api.graphql_server.protocols.http import HTTPEndpoint, Page
from graphql_api.graphql_server.protocols.websocket import WebSocketEndpoint
from graphql_api.graphql_server.settings import GraphQLSettings

_PATH = "/graphql"


class GraphQLEndpoint:
    """Serves one schema at `/graphql`.

    `authenticate` is called for every operation and returns the context of this operation. The context may hold data
    loaders of this operation. While a stream or WebSocket is open, `authenticate` is also called every few seconds. If
    the API key is revoked or expires, the stream or WebSocket ends.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        authenticate: Authenticate,
        settings: GraphQLSettings,
        page: Page,
        memory_budget: MemoryBudget,
        challenges: Challenges = FOR_KEYS,
    ) -> None:
        executor = Executor(schema, settings, memory_budget)
        self._http = HTTPEndpoint(executor, authenticate, page, challenges)
        self._websocket = WebSocketEndpoint(executor, authenticate)

    @property
    def routes(self) -> list[BaseRoute]:
        """The routes for a Starlette application."""
        return [Route(_PATH, self._http), WebSocketRoute(_PATH, self._websocket)]

    def end_streams(self) -> None:
        """End the open event streams, so that their clients reconnect. uvicorn closes the open WebSockets itself."""
        self._http.end_streams()
