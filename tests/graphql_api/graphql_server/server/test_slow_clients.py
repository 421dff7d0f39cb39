"""Clients that read slowly: the memory that their responses need, and the error TOO_SLOW with the last cursor."""

import json
import logging
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from websockets.exceptions import ConnectionClosed

from graphql_api.budgets.budgets import Budgets
from graphql_api.configuration.certificate import Certificate
from graphql_api.configuration.limits import Limits
from graphql_api.graphql_server import Server, ServerSettings
from graphql_api.graphql_server.server.http_connection import HTTPConnection
from graphql_api.graphql_server.tcp_state import TRANSPORT
from tests.certificates import certificate
from tests.graphql_api.graphql_server import clients
from tests.graphql_api.graphql_server.service import KEY, Service, running, serving
from tests.stack import PATIENCE_SECONDS, eventually

STALLED_SECONDS = 1.5
QUERY = "subscription { stories(length: 100000) { cursor text } }"
PART_BYTES = 20_000
TLS_OVERHEAD_BYTES = 2_000


@pytest.fixture(scope="module")
def impatient() -> Iterator[Service]:
    """Serve with a short stall timeout."""
    with running(server_settings=ServerSettings(stall_seconds=STALLED_SECONDS)) as service:
        yield service


def wait_until_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    """Wait until the log says that a connection was ended."""
    deadline = time.monotonic() + PATIENCE_SECONDS
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


async def long_response(scope: Scope, receive: Receive, send: Send) -> None:
    """Send a response of 10 MB in parts."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(500):
            await send({"type": "http.response.body", "body": bytes(PART_BYTES), "more_body": True})


async def whole_response(scope: Scope, receive: Receive, send: Send) -> None:
    """Send a response of 12 MB in one part."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(12_000_000)})


def test_a_client_that_does_not_read_a_complete_response_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    """The application has already ended the response, so it cannot send an error."""
    settings = ServerSettings(stall_seconds=STALLED_SECONDS)
    server = Server(whole_response, Budgets(Limits()), settings=settings)
    with serving(server) as (port, _), socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        wait_until_cut_off(caplog)

        eventually(lambda: not _connections(server))


async def almost_sent_response(scope: Scope, receive: Receive, send: Send) -> None:
    """Send a response until the kernel does not take all of it. At `/fails`, fail before its end."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not scope["state"][TRANSPORT].get_write_buffer_size():
            await send({"type": "http.response.body", "body": bytes(4_000), "more_body": True})
        if scope["path"] == "/fails":
            raise ValueError
        await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize(
    "requests",
    {
        "keep-alive": b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "close": b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "failure": b"GET /fails HTTP/1.1\r\nhost: a\r\n\r\n",
        "refused WebSocket": b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
        b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    }.items(),
    ids=lambda item: item[0],
)
def test_a_client_that_does_not_read_the_end_of_a_response_is_cut_off(requests: tuple[str, bytes]) -> None:
    """The stall timer does not run, because little data waits to be sent. The connection stayed open forever."""
    settings = ServerSettings(keep_alive_seconds=1, unread_response_seconds=0.1)
    server = Server(almost_sent_response, Budgets(Limits()), settings=settings)
    with serving(server) as (port, _), socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", port))
        connection.sendall(requests[1])
        assert connection.recv(1), "the server should respond before it ends the connection"

        eventually(lambda: not server.server_state.connections)


def _connections(server: Server) -> list[HTTPConnection]:
    return [each for each in server.server_state.connections if isinstance(each, HTTPConnection)]


@pytest.mark.parametrize("has_tls", [False, True], ids=["plain", "TLS"])
def test_little_of_a_response_that_is_not_read_is_in_memory(tmp_path: Path, has_tls: bool) -> None:
    """Thousands of clients can leave responses unread. By default, each takes up to 64 KiB, or 512 KiB with TLS."""
    files = [*certificate(tmp_path).values()] if has_tls else []
    settings = ServerSettings()
    server = Server(
        long_response, Budgets(Limits()), settings=settings, certificate=Certificate(*files) if has_tls else None
    )
    with serving(server) as (port, _), socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        context = ssl.create_default_context(cafile=files[0]) if has_tls else None
        with context.wrap_socket(client, server_hostname="127.0.0.1") if context else client as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            [opened] = eventually(lambda: [each for each in _connections(server) if each.flow.write_paused])

            unsent = opened.transport.get_write_buffer_size()

    assert 0 < unsent <= settings.max_unsent_bytes + PART_BYTES + TLS_OVERHEAD_BYTES
