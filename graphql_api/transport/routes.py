"""The transport put together: a schema and a way to tell who is asking become routes of an application."""

from graphql import GraphQLSchema
from starlette.routing import BaseRoute, Route

from graphql_api.transport.execution import Executor
from graphql_api.transport.http import Authenticate, HTTPEndpoint, Page
from graphql_api.transport.settings import TransportSettings


class GraphQLTransport:
    """Serves one schema at one path."""

    def __init__(
        self,
        schema: GraphQLSchema,
        context: Authenticate,
        settings: TransportSettings,
        page: Page,
        path: str = "/graphql",
    ) -> None:
        executor = Executor(schema, settings)
        self._http = HTTPEndpoint(executor, context, settings, page)
        self._path = path

    @property
    def routes(self) -> list[BaseRoute]:
        """The routes to add to a Starlette application."""
        return [Route(self._path, self._http)]
