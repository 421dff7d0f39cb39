"""GraphQL over HTTP, Server-Sent Events, multipart and WebSockets, for whatever schema it is given."""

from graphql_api.graphql_server.execution.shared_events import SharedEvent
from graphql_api.graphql_server.memory_budget import Capacity
from graphql_api.graphql_server.request_body import read_body, stream_body
from graphql_api.graphql_server.routes import GraphQLTransport
from graphql_api.graphql_server.server.http_connection import ServerSettings
from graphql_api.graphql_server.server.uvicorn_server import Server
from graphql_api.graphql_server.settings import TransportSettings

__all__ = [
    "Capacity",
    "GraphQLTransport",
    "Server",
    "ServerSettings",
    "SharedEvent",
    "TransportSettings",
    "read_body",
    "stream_body",
]
