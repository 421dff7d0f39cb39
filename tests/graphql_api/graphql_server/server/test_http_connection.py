"""Limits on HTTP connections."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator

import pytest

from graphql_api.graphql_server import ServerSettings
from graphql_api.graphql_server.server.http_connection import HTTPConnection
from tests.graphql_api.graphql_server import clients
from tests.graphql_api.graphql_server.server.raw_http import (
    HEAD,
    WHOLE,
    connection,
    receive_all,
    received_at_once,
    status_of,
)
from tests.graphql_api.graphql_server.service import KEY, Service, running
from tests.stack import PATIENCE_SECONDS, eventually


@pytest.fixture(scope="module")
def strict() -> Iterator[Service]:
    """Serve with short timeouts."""
    settings = ServerSettings(
        header_timeout_seconds=0.4, keep_alive_seconds=1, unread_body_seconds=0.3, stall_seconds=0.4
    )
    with running(server_settings=settings) as service:
        yield service


def test_a_connection_without_a_request_is_closed(strict: Service) -> None:
    """The server sends nothing, because there was no request."""
    with connection(strict) as client:
        assert receive_all(client) == b""


@pytest.mark.parametrize(
    ("beginning", "trickle"),
    [
        (b"GET /", b"x"),
        (b"GET / HTTP/1.1\r\nhost: x\r\n", b"x"),
        (b"\r\n", b"\r\n"),
        (HEAD[:-2], b"x"),
        (WHOLE + b"GET /", b"x"),
    ],
)
def test_trickled_headers_are_refused(strict: Service, beginning: bytes, trickle: bytes) -> None:
    """The timeout covers all bytes of the headers together."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    received = b""
    with connection(strict) as client:
        client.sendall(beginning)
        client.settimeout(0.05)
        with contextlib.suppress(OSError):
            while b"HTTP/1.1 408 " not in received and time.monotonic() < deadline:
                try:
                    received += client.recv(65536)
                except TimeoutError:
                    client.sendall(trickle)

    assert b"HTTP/1.1 408 " in received


def test_a_connection_stays_open_for_the_keep_alive_time(strict: Service) -> None:
    """Other requests can use it until it has been idle for that time."""
    with connection(strict) as client:
        for _ in range(3):
            client.sendall(WHOLE)
            received = b""
            while not received.endswith(b"}}"):
                received += (data := client.recv(65536))
                assert data, "the server should not close the connection"
            assert received.startswith(b"HTTP/1.1 200 ")
        assert receive_all(client) == b""


@pytest.mark.parametrize("request_bytes", [WHOLE, HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"])
def test_an_idle_connection_keeps_no_headers(request_bytes: bytes) -> None:
    """4,000 idle connections would otherwise keep 240 MiB."""
    with running() as service, connection(service) as client:
        client.sendall(request_bytes)
        status_of(client)
        (idle,) = service.server.server_state.connections

        assert isinstance(idle, HTTPConnection)
        eventually(lambda: "headers" not in idle.cycle.scope)  # the client can have the response earlier
        assert idle.headers == []
        assert "headers" not in idle.scope


def test_two_requests_that_the_parser_gets_at_once_are_both_executed() -> None:
    """The end of the first headers arrives together with the second request."""
    request = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"
    with running() as service, connection(service) as client:
        client.sendall(request[:-1])
        (opened,) = eventually(lambda: list(service.server.server_state.connections))
        assert isinstance(opened, HTTPConnection)
        eventually(lambda: opened.header_bytes)
        client.sendall(request[-1:] + request.replace(b"host: x", b"host: x\r\nconnection: close"))
        first, second = receive_all(client).split(b"HTTP/1.1 ")[1:]

    assert first[:3] == second[:3] < b"500"


def test_pipelined_requests_are_all_executed(strict: Service) -> None:
    """Even if they are larger together than the limit of headers."""
    with connection(strict) as client:
        client.sendall(WHOLE * 300)
        received = receive_all(client)

    assert received.count(b'{"data":{"hello":"hello you"}}') == 300


@pytest.mark.parametrize(
    "request_bytes",
    [
        HEAD + b"".join(b"x%d: y\r\n" % number for number in range(5_000)) + b"\r\n",
        HEAD + b"".join(b"x%d: y\r\n" % number for number in range(200)) + b"\r\n",
        HEAD + b"x: " + b"y" * 40_000 + b"\r\n\r\n",
        HEAD + b"x: " + b"y" * 10_000_000 + b"\r\n\r\n",
        HEAD + b"y" * 10_000_000 + b": x\r\n\r\n",
        b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
    ids=["5000", "200", "40 kB", "10 MB", "a name", "a path"],
)
def test_too_many_or_too_large_headers_are_refused(strict: Service, request_bytes: bytes) -> None:
    """They are not stored in memory."""
    with connection(strict) as client:
        with contextlib.suppress(OSError):
            client.sendall(request_bytes)
        received = receive_all(client)

    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ")
    assert json.loads(body)["errors"][0]["extensions"]["code"] == "TOO_LARGE"


@pytest.mark.parametrize("ending", [b"0\r\n" + b"x: y\r\n" * 100_000, b"1;" + b"x" * 1_000_000])
def test_trailers_and_chunk_extensions_are_limited(strict: Service, ending: bytes) -> None:
    """They are not content, so the limit of a body does not cover them."""
    with connection(strict) as client:
        with contextlib.suppress(OSError):
            client.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n" + ending)
        received = receive_all(client)

    assert received.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))


@pytest.mark.parametrize(("header", "trailer", "status"), [(KEY, "x", b"200"), ("x", KEY, b"401"), ("", KEY, b"401")])
def test_a_trailer_is_not_a_header(strict: Service, header: str, trailer: str, status: bytes) -> None:
    """A proxy can pass trailers on that it would not accept as headers, such as the address of the client."""
    body = b'{"query":"{ hello }"}'
    first = f"x-api-key: {header}\r\n".encode() if header else b""
    head = b"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n" + first
    chunks = b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\nx-api-key: %b\r\n\r\n" % (
        len(body),
        body,
        trailer.encode(),
    )
    with connection(strict) as client:
        client.sendall(head + chunks)

        assert receive_all(client).startswith(b"HTTP/1.1 " + status)


AMBIGUOUS = (
    b"",
    b"host: x\r\nhost: x\r\n",
    b"host: x\r\nhost: y\r\n",
    b"host: x, y\r\n",
    b"host: x/y\r\n",
    b"host: x\r\ntransfer-encoding: gzip, chunked\r\n",
    b"host: x\r\ntransfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
    b"host: x\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
    b"host: x\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n",
    b"host: x\r\ncontent-length: 5\r\ncontent-length: 5\r\n",
    b"host: x\r\nte: gzip, chunked\r\n",
)


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_ambiguous_headers_are_refused(strict: Service, method: bytes) -> None:
    """A proxy could see another host, or another end of the request."""
    requests = {headers: method + b" /graphql HTTP/1.1\r\n" + headers + b"\r\n0\r\n\r\n" for headers in AMBIGUOUS}

    received = received_at_once(strict, requests)

    for response in received.values():
        head, _, body = response.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 "), received
        assert json.loads(body)["errors"][0]["extensions"]["code"] == "BAD_REQUEST"


@pytest.mark.parametrize(
    "headers",
    [
        b"host: [::1]:8000\r\n",
        b"host: a_b.example:80\r\nte: trailers\r\n",
        b"host: x\r\ntransfer-encoding: Chunked\r\n",
    ],
)
def test_usual_headers_are_accepted(strict: Service, headers: bytes) -> None:
    """A host may be an address, and may have a port."""
    ending = b"2\r\n{}\r\n0\r\n\r\n" if b"transfer" in headers else b""
    with connection(strict) as client:
        client.sendall(b"POST /graphql HTTP/1.1\r\n" + headers + b"\r\n" + ending)
        assert client.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_whitespace_after_a_header_is_not_part_of_its_value(strict: Service) -> None:
    """RFC 9110, section 5.5. With the space, the key is another key, and the response would be 401."""
    with connection(strict) as client:
        client.sendall(WHOLE.replace(KEY.encode(), f" {KEY} \t".encode()))
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_http_1_0_needs_no_host(strict: Service) -> None:
    """Its connection is closed after the response."""
    with connection(strict) as client:
        client.sendall(b"GET /graphql HTTP/1.0\r\n\r\n")
        assert receive_all(client).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"hello\r\n\r\n", b"GET\r\n\r\n"])
def test_data_that_is_not_http_is_a_bad_request(strict: Service, data: bytes) -> None:
    """For example TLS on a plain port."""
    with connection(strict) as client:
        client.sendall(data)
        assert receive_all(client).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("before", [b"", WHOLE])
@pytest.mark.parametrize("method", [b"FETCH", b"get", b"POSTS"])
def test_an_unknown_method_is_not_implemented(strict: Service, method: bytes, before: bytes) -> None:
    """RFC 9110 asks for this status. The response says which method was unknown. It was 400 without a reason."""
    with connection(strict) as client:
        client.sendall(before + method + b" /graphql HTTP/1.1\r\nhost: x\r\n\r\n")
        responses = receive_all(client)

    response = responses[responses.rindex(b"HTTP/1.1") :]
    assert response.startswith(b"HTTP/1.1 501 Not Implemented\r\n")
    assert b"the method %b is unknown; methods are in upper case" % method in response


def test_the_stream_of_a_client_that_does_not_read_is_ended(strict: Service, caplog: pytest.LogCaptureFixture) -> None:
    """Its subscription ends too, and the log says so."""
    body = b'{"query":"subscription { text(length: 100000) }"}'
    with connection(strict) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(HEAD + b"accept: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not strict.state.subscriptions and time.monotonic() < deadline:
            time.sleep(0.01)
        clients.wait_until_no_subscriptions(strict)
    assert "ended the response to POST /graphql" in caplog.text


def test_a_client_that_reads_slowly_is_served(strict: Service) -> None:
    """The whole response takes longer than the stall timeout."""
    body = b'{"query":"{ text(length: 12000000) }"}'
    with connection(strict) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.sendall(HEAD + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        received = 0
        while chunk := client.recv(300_000):
            received += len(chunk)
            time.sleep(0.01)

    assert received > 12_000_000


def test_a_client_that_still_sends_has_not_stalled(strict: Service) -> None:
    """Many clients read nothing of the response before they have sent their whole body."""
    head = f"POST /duplex HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\nconnection: close\r\ncontent-length: 30000\r\n\r\n"
    with connection(strict) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.sendall(head.encode())
        for _ in range(30):  # 1.5 s, nearly four times the stall timeout
            time.sleep(0.05)
            client.sendall(bytes(1_000))
        received = receive_all(client)

    assert len(received) > 12_000_000
