"""HTTP over plain sockets, for requests that no client library sends."""

import contextlib
import socket
from collections.abc import Iterator, Mapping
from http.client import HTTPResponse

from tests.graphql_api.graphql_server.service import KEY, Service
from tests.stack import PATIENCE_SECONDS

HEAD = f"POST /graphql HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\n".encode()
BODY = b'{"query":"{hello}"}'
WHOLE = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY


@contextlib.contextmanager
def connection(service: Service) -> Iterator[socket.socket]:
    """Connect to a service."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE_SECONDS) as client:
        yield client


def receive_all(client: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := client.recv(65536):
            received += chunk
    return received


def received_at_once(service: Service, requests: Mapping[bytes, bytes], later: bytes = b"") -> dict[bytes, bytes]:
    """Send each request over a connection of its own. Read until the server closes the connections.

    After a refusal, the server discards data for a moment. All connections together wait as long as one. `later` is
    sent over each connection as soon as the server has responded.
    """
    with contextlib.ExitStack() as connections:
        clients = {}
        for name, request in requests.items():
            clients[name] = connections.enter_context(connection(service))
            clients[name].sendall(request)
        if later:
            for client in clients.values():
                client.recv(1, socket.MSG_PEEK)
                client.sendall(later)
        return {name: receive_all(client) for name, client in clients.items()}


def status_of(client: socket.socket) -> int:
    """Read one response and return its status."""
    response = HTTPResponse(client)
    response.begin()
    response.read()
    return response.status
