"""The shutdown of the server."""

import contextlib
import json
import time

import pytest

from graphql_api.graphql_server import ServerSettings
from tests.graphql_api.graphql_server import clients
from tests.graphql_api.graphql_server.server.raw_http import HEAD, connection, receive_all
from tests.graphql_api.graphql_server.service import KEY, running
from tests.stack import PATIENCE_SECONDS


def test_the_server_stops_without_waiting_for_streams() -> None:
    """Clients of open subscriptions learn that they should reconnect. Idle connections do not delay the stop."""
    with running() as service, contextlib.ExitStack() as stack:
        idle = stack.enter_context(connection(service))
        events = stack.enter_context(clients.subscribed(service, "subscription { count(to: 9, pause: 60) }"))
        sockets = stack.enter_context(clients.initialized(service))
        clients.send(sockets, clients.subscribe("subscription { count(to: 9, pause: 60) }"))
        clients.receive(sockets)
        assert [next(events) for _ in range(2)][1] == ("next", {"data": {"count": 0}})

        assert service.stop(), "no subscription, each of which waits 60 s, should delay the stop"
        assert list(events) == [], "an end without `complete` is what makes a client come back"
        assert clients.closed(sockets)[0] == 1012
        assert idle.recv(10) == b""
        assert service.state.subscriptions == 0


@pytest.mark.parametrize("path", ["/graphql", "/upload"])
def test_a_request_in_progress_when_the_server_stops_is_refused_with_503(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """After some time to complete. The client is told to send the request again."""
    query = b'{"query":"{slow(seconds:60)}"}'
    missing = 1 if path == "/upload" else 0
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\n".encode()
    with running(server_settings=ServerSettings(shutdown_seconds=0.2)) as service, connection(service) as client:
        client.sendall(head + b"content-length: %d\r\n\r\n" % (len(query) + missing) + query)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not service.server.server_state.tasks and time.monotonic() < deadline:
            time.sleep(0.01)
        assert service.stop()
        response, _, body = receive_all(client).partition(b"\r\n\r\n")

    assert response.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1" in response
    assert b"connection: close" in response
    assert json.loads(body)["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
    assert "Exception in ASGI application" not in caplog.text


def test_a_request_that_completes_in_time_is_answered_when_the_server_stops() -> None:
    """Idle connections are closed at once. A request whose headers are incomplete is refused."""
    body = b'{"query":"{slow(seconds:0.5)}"}'
    with running() as service, connection(service) as client, connection(service) as incomplete:
        incomplete.sendall(HEAD)  # first, so that the server has read it when the other request is in progress
        client.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not service.server.server_state.tasks and time.monotonic() < deadline:
            time.sleep(0.01)
        assert service.stop()

        assert receive_all(client).endswith(b'{"data":{"slow":"done"}}')
        assert receive_all(incomplete).startswith(b"HTTP/1.1 503 ")
