"""A client that reads too slowly finds the error TOO_SLOW and its last cursor when it reads again."""

import json
import logging
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from graphql_api.graphql_server import ServerSettings
from tests.graphql_api.graphql_server import clients
from tests.graphql_api.graphql_server.service import KEY, Service, running
from tests.stack import PATIENCE_SECONDS

STALLED_SECONDS = 1.5
QUERY = "subscription { stories(length: 100000) { cursor text } }"


@pytest.fixture(scope="module")
def impatient() -> Iterator[Service]:
    """Serve with a short stall timeout."""
    with running(server_settings=ServerSettings(stall_seconds=STALLED_SECONDS)) as service:
        yield service


def wait_until_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    """Wait until the log says that a connection was ended."""
    deadline = time.monotonic() + 30
    while "read almost no data" not in caplog.text:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_slow_reader_of_a_websocket_gets_the_last_cursor_of_each_operation(
    impatient: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """Every operation ends with its own cursor, then the WebSocket is closed. Other clients are served meanwhile."""
    caplog.set_level(logging.WARNING)
    with clients.socket(impatient, max_queue=1, max_size=None) as connection:
        clients.send(connection, clients.INIT, clients.subscribe(QUERY))
        assert impatient.post("{ hello }").status_code == 200
        wait_until_cut_off(caplog)
        messages: list[Any] = []
        while True:
            try:
                messages.append(clients.receive(connection))
            except ConnectionClosed as closed:
                close = closed.rcvd
                break
    cursors = [each["payload"]["data"]["stories"]["cursor"] for each in messages if each["type"] == "next"]

    assert close is not None
    assert (close.code, close.reason) == (4490, "TOO_SLOW: subscribe again with the last cursor as `after`")
    assert messages[-1]["id"] == "1"
    assert messages[-1]["type"] == "error"
    assert messages[-1]["payload"][0]["extensions"] == {"code": "TOO_SLOW", "cursor": cursors[-1]}
    assert cursors == [str(number) for number in range(len(cursors))]
    clients.wait_until_no_subscriptions(impatient)


def test_a_slow_reader_of_an_event_stream_gets_its_last_cursor(
    impatient: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is the last event before `complete`, and the response is complete."""
    caplog.set_level(logging.WARNING)
    body = json.dumps({"query": QUERY}).encode()
    head = f"POST /graphql HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\naccept: text/event-stream\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    received = b""
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(head.encode() + body)
        wait_until_cut_off(caplog)
        while not received.endswith(b"0\r\n\r\n") and (data := connection.recv(1 << 20)):
            received += data
    _, _, last = received.rpartition(b'{"cursor":"')

    assert received.endswith(b"event: complete\ndata: \n\n\r\n0\r\n\r\n")
    assert b'"code":"TOO_SLOW","cursor":"%b"' % last.split(b'"')[0] in last
