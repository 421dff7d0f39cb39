"""What one WebSocket may take: of time, of operations, of bytes."""

import contextlib
import time
from socket import create_connection

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from graphql_api.graphql_server import GraphQLSettings, ServerSettings
from tests.graphql_api.graphql_server.clients import (
    INIT,
    PROTOCOL,
    closed,
    hear,
    initialised,
    socket,
    subscribe,
    tell,
    wait_until_no_subscriptions,
)
from tests.graphql_api.graphql_server.service import running


def test_sockets_that_say_or_do_nothing_are_closed() -> None:
    """Before and after initialisation; a running operation is something."""
    settings = GraphQLSettings(connection_init_seconds=0.2, idle_websocket_seconds=0.3)
    with running(settings) as service:
        with socket(service) as connection:
            assert closed(connection)[0] == 4408
        with initialised(service) as connection:
            tell(connection, subscribe("subscription { count(to: 2, pause: 0.8) }"))
            assert [hear(connection)["type"] for _ in range(3)] == ["next", "next", "complete"]
            assert closed(connection)[0] == 1001


def test_a_trickle_of_pings_is_no_initialisation() -> None:
    """The time limit holds for the whole of it."""
    with running(GraphQLSettings(connection_init_seconds=0.3)) as service, socket(service) as connection:
        with contextlib.suppress(ConnectionClosed):
            while True:
                tell(connection, {"type": "ping"})
                hear(connection)
        assert closed(connection)[0] == 4408


def test_sockets_operations_and_messages_are_bounded() -> None:
    """Beyond the limits, operations fail, messages close the socket, and sockets are refused."""
    settings = GraphQLSettings(max_websockets=1, max_operations_per_websocket=2)
    with running(settings, ServerSettings(max_message_bytes=10_000)) as service:
        with initialised(service) as connection:
            with pytest.raises(InvalidStatus) as refused, socket(service):
                pass
            assert refused.value.response.status_code == 503
            for operation_id in ("1", "2", "3"):
                tell(connection, subscribe("subscription { count(to: 1, pause: 60) }", operation_id))
                message = hear(connection)
            assert (message["type"], message["payload"][0]["extensions"]["code"]) == ("error", "RATE_LIMITED")
            tell(connection, subscribe("{ hello }" + " " * 10_000))
            assert closed(connection)[0] == 1009
        deadline = time.monotonic() + 5
        while True:  # the server may learn a moment later that the socket is closed
            try:
                with initialised(service):
                    break
            except InvalidStatus:
                assert time.monotonic() < deadline


def test_operations_beyond_the_limit_end_none_of_those_before_them() -> None:
    """However fast they come."""
    with running(GraphQLSettings(max_operations_per_websocket=2)) as service, initialised(service) as connection:
        ids = [str(number) for number in range(20)]
        tell(connection, *(subscribe("subscription { count(to: 1, pause: 60) }", each) for each in ids))

        heard = [hear(connection) for _ in range(20)]

    assert sorted(message["id"] for message in heard if message["type"] == "next") == ids[:2]
    assert sorted(message["id"] for message in heard if message["type"] == "error") == sorted(ids[2:])


def test_a_client_that_does_not_read_is_closed_with_a_code() -> None:
    """It costs its buffer and one answer, and others are served meanwhile."""
    with (
        running(server_settings=ServerSettings(stall_seconds=0.4)) as service,
        connect(
            service.url.replace("http", "ws", 1), subprotocols=[PROTOCOL], compression=None, max_queue=1, max_size=None
        ) as connection,
    ):
        tell(connection, INIT, subscribe("subscription { text(length: 100000) }"))
        deadline = time.monotonic() + 10
        while not service.state.subscriptions and time.monotonic() < deadline:
            time.sleep(0.01)
        assert service.post("{ hello }").status_code == 200
        wait_until_no_subscriptions(service)
        assert closed(connection) == (4490, "TOO_SLOW: subscribe again after the last cursor")


@pytest.mark.parametrize("header", [f"x-large: {'a' * 20_000}", "content-length: 5"])
def test_a_handshake_that_cannot_be_read_is_ended(header: str) -> None:
    """Nobody waits for what is not going to come."""
    head = (
        f"GET /graphql HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n{header}\r\n"
        "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with running() as service, create_connection(("127.0.0.1", service.port), timeout=5) as connection:
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b""))

    assert answer.startswith(b"HTTP/1.1 431 ") or (answer == b"" and "large" not in header)


def test_mistakes_of_clients_are_no_errors_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Text that is no UTF-8, and a page of another origin."""
    with running() as service:
        with pytest.raises(InvalidStatus) as refused, socket(service, origin="https://other.example"):
            pass
        with initialised(service) as connection:
            connection.protocol.send_text(b"\xff")
            connection.socket.sendall(b"".join(connection.protocol.data_to_send()))
            assert closed(connection)[0] == 1007

    assert refused.value.response.status_code == 403
    assert caplog.records == []
