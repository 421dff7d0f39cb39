"""Closed connections leave memory at once. Garbage collections of the API are rare."""

import gc
import time
from collections.abc import Callable, Iterator
from socket import SO_LINGER, SOL_SOCKET, create_connection
from struct import pack

import pytest

from tests.graphql_api.graphql_server import clients
from tests.graphql_api.graphql_server.service import KEY, Service, running
from tests.stack import PATIENCE_SECONDS

QUERY = f"GET /graphql?query=%7Bhello%7D HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\n\r\n".encode()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """Serve with the default limits."""
    with running() as running_service:
        yield running_service


def request(service: Service, data: bytes) -> None:
    """Send data over a connection, and wait for a response if there is one."""
    with create_connection(("127.0.0.1", service.port), timeout=PATIENCE_SECONDS) as client:
        client.sendall(data)
        if b"\r\n\r\n" in data:
            assert client.recv(65536)


def reset(service: Service) -> None:
    """Send a request, and reset the connection after the response."""
    with create_connection(("127.0.0.1", service.port), timeout=PATIENCE_SECONDS) as client:
        client.sendall(QUERY)
        assert client.recv(65536)
        client.setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))


def subscribe_over_a_websocket(service: Service) -> None:
    """Open a WebSocket with a subscription, and close it."""
    with clients.initialized(service) as connection:
        clients.send(connection, clients.subscribe("subscription { count(to: 9, pause: 60) }"))
        clients.receive(connection)


def send_a_wrong_message_over_a_websocket(service: Service) -> None:
    """Open a WebSocket that the server closes."""
    with clients.socket(service) as connection:
        connection.send(b"a binary message")
        clients.closed(connection)


CONNECTIONS: dict[str, Callable[[Service], None]] = {
    "a request": lambda service: request(service, QUERY),
    "a refused request": lambda service: request(service, b"GET / HTTP/1.1\r\n\r\n"),
    "a reset": reset,
    "half a request": lambda service: request(service, QUERY[:20]),
    "a refused WebSocket": send_a_wrong_message_over_a_websocket,
    "a subscription": subscribe_over_a_websocket,
}


@pytest.mark.parametrize("kind", CONNECTIONS)
def test_a_closed_connection_is_freed_without_a_garbage_collection(service: Service, kind: str) -> None:
    """No connection is part of a reference cycle."""
    gc.collect()
    before = _connections()  # of other tests
    gc.disable()
    try:
        for _ in range(20):
            CONNECTIONS[kind](service)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (left := _connections() - before) > 5 and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        gc.enable()

    assert left <= 5


def _connections() -> int:
    return sum(type(each).__name__.startswith("Configured") for each in gc.get_objects())
