"""Clients of the service over event streams and WebSockets."""

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.graphql_api.graphql_server.service import KEY, Service
from tests.stack import PATIENCE_SECONDS

EVENTS = {"accept": "text/event-stream"}
PROTOCOL = Subprotocol("graphql-transport-ws")
INIT = {"type": "connection_init", "payload": {"apiKey": KEY}}
ACK = {"type": "connection_ack"}


@contextlib.contextmanager
def socket(service: Service, **options: Any) -> Iterator[ClientConnection]:
    """Open a WebSocket."""
    options.setdefault("subprotocols", [PROTOCOL])
    with connect(service.url.replace("http", "ws", 1), compression=None, **options) as connection:
        yield connection


def send(connection: ClientConnection, *messages: object) -> None:
    """Send messages."""
    for message in messages:
        connection.send(json.dumps(message))


def receive(connection: ClientConnection) -> Any:
    """Wait for a message."""
    return json.loads(connection.recv(timeout=PATIENCE_SECONDS))


def drain(connection: ClientConnection) -> None:
    """Read until the WebSocket is closed."""
    while True:
        connection.recv(timeout=PATIENCE_SECONDS)


def closed(connection: ClientConnection) -> tuple[int, str]:
    """Wait until the server closes the WebSocket. Return its close code and reason."""
    with pytest.raises(ConnectionClosed):
        drain(connection)
    assert connection.protocol.close_rcvd is not None
    return connection.protocol.close_rcvd.code, connection.protocol.close_rcvd.reason


@contextlib.contextmanager
def initialized(service: Service, **options: Any) -> Iterator[ClientConnection]:
    """Open a WebSocket and initialize it."""
    with socket(service, **options) as connection:
        send(connection, INIT)
        assert receive(connection) == ACK
        yield connection


def subscribe(query: str, operation_id: object = "1", **variables: object) -> dict[str, object]:
    """Return a message that starts an operation."""
    return {"type": "subscribe", "id": operation_id, "payload": {"query": query, "variables": variables}}


def wait_until_no_subscriptions(service: Service) -> None:
    """Wait until the sources of all subscriptions are closed."""
    deadline = time.monotonic() + 30
    while service.state.subscriptions and time.monotonic() < deadline:
        time.sleep(0.01)
    assert service.state.subscriptions == 0


def events(lines: Iterator[str]) -> Iterator[tuple[str, object]]:
    """Yield events and comments as they arrive."""
    event = data = ""
    for line in lines:
        if line.startswith(":"):
            yield ":", None
            assert next(lines) == ""
        elif line.startswith("event: "):
            event = line.removeprefix("event: ")
        elif line.startswith("data: "):
            data += line.removeprefix("data: ") + "\n"
        elif not line:
            assert event, f"an event without a name: {data}"
            yield event, json.loads(data) if data.strip() else None
            event = data = ""
        else:
            raise AssertionError(f"not a line of an event: {line}")


@contextlib.contextmanager
def subscribed(service: Service, query: str, **headers: str) -> Iterator[Iterator[tuple[str, object]]]:
    """Open an event stream for one operation."""
    body = {"query": query}
    with service.client.stream("POST", "/graphql", json=body, headers={**EVENTS, **headers}) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        yield events(response.iter_lines())
