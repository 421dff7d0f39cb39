"""GraphQL over HTTP, Server-Sent Events and WebSockets for any schema. This package is independent of samples."""

from graphql_api.graphql_server.execution.responses import SharedEvent
from graphql_api.graphql_server.routes import GraphQLEndpoint
from graphql_api.graphql_server.server.uvicorn_server import Server
from graphql_api.graphql_server.settings import GraphQLSettings, ServerSettings

__all__ = [
    "GraphQLEndpoint",
    "GraphQLSettings",
    "Server",
    "ServerSettings",
    "SharedEvent",
]
