"""GraphQL over HTTP, Server-Sent Events, multipart and WebSockets, for whatever schema it is given."""

from graphql_api.transport.bodies import read_body, stream_body
from graphql_api.transport.capacity import Capacity
from graphql_api.transport.connections import ServerSettings
from graphql_api.transport.routes import GraphQLTransport
from graphql_api.transport.server import Server
from graphql_api.transport.settings import TransportSettings
from graphql_api.transport.sharing import SharedEvent

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
