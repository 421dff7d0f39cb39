"""What one WebSocket may take: of time, of operations, of bytes."""

import contextlib
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from graphql_api.transport import ServerSettings, TransportSettings
from tests.graphql_api.transport.clients import (
    INIT,
    PROTOCOL,
    assert_nobody_watches,
    closed,
    hear,
    initialised,
    socket,
    subscribe,
    tell,
)
from tests.graphql_api.transport.service import running


def test_sockets_that_say_or_do_nothing_are_closed() -> None:
    """Before and after initialisation; a running operation is something."""
    settings = TransportSettings(connection_init_seconds=0.2, idle_socket_seconds=0.3)
    with running(settings) as service:
        with socket(service) as connection:
            assert closed(connection)[0] == 4408
        with initialised(service) as connection:
            tell(connection, subscribe("subscription { count(to: 2, pause: 0.8) }"))
            assert [hear(connection)["type"] for _ in range(3)] == ["next", "next", "complete"]
            assert closed(connection)[0] == 1001


def test_a_trickle_of_pings_is_no_initialisation() -> None:
    """The time limit holds for the whole of it."""
    with running(TransportSettings(connection_init_seconds=0.3)) as service, socket(service) as connection:
        with contextlib.suppress(ConnectionClosed):
            while True:
                tell(connection, {"type": "ping"})
                hear(connection)
        assert closed(connection)[0] == 4408


def test_sockets_operations_and_messages_are_bounded() -> None:
    """Beyond the limits, operations fail, messages close the socket, and sockets are refused."""
    settings = TransportSettings(most_sockets=1, most_subscriptions=2)
    with running(settings, ServerSettings(largest_message=10_000)) as service:
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
    with running(TransportSettings(most_subscriptions=2)) as service, initialised(service) as connection:
        ids = [str(number) for number in range(20)]
        tell(connection, *(subscribe("subscription { count(to: 1, pause: 60) }", each) for each in ids))

        heard = [hear(connection) for _ in range(20)]

    assert sorted(message["id"] for message in heard if message["type"] == "next") == ids[:2]
    assert sorted(message["id"] for message in heard if message["type"] == "error") == sorted(ids[2:])


def test_a_client_that_does_not_read_is_closed_with_a_code() -> None:
    """It costs its buffer and one answer, and others are served meanwhile."""
    with (
        running(server_settings=ServerSettings(stalled_seconds=0.4)) as service,
        connect(
            service.url.replace("http", "ws", 1), subprotocols=[PROTOCOL], compression=None, max_queue=1, max_size=None
        ) as connection,
    ):
        tell(connection, INIT, subscribe("subscription { text(length: 100000) }"))
        deadline = time.monotonic() + 10
        while not service.state.watching and time.monotonic() < deadline:
            time.sleep(0.01)
        assert service.post("{ hello }").status_code == 200
        assert_nobody_watches(service)
        assert closed(connection) == (4490, "TOO_SLOW: subscribe again behind the last cursor")
