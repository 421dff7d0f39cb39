"""Pipelined requests: the server answers them in order, and parses one at a time."""

import gc
import itertools
import random
import socket
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from graphql_api.graphql_server import GraphQLSettings
from tests.graphql_api.graphql_server.clients import wait_until_no_subscriptions
from tests.graphql_api.graphql_server.service import KEY, Service, running
from tests.stack import PATIENCE_SECONDS

HEAD = f"host: x\r\nx-api-key: {KEY}\r\n".encode()
GET = b"GET /graphql?query=%7Bhello%7D HTTP/1.1\r\n" + HEAD + b"\r\n"
PIECES = st.sampled_from([b"x", b"\r\n\r\n", b"0\r\n\r\n", b"\r\n0\r\n\r\n", GET, b"y" * 9_000, b"z" * 70_000])
BODIES = st.lists(PIECES, max_size=5).map(b"".join)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """Serve with the default limits."""
    with running() as running_service:
        yield running_service


def with_length(body: bytes) -> bytes:
    """Return an upload with a Content-Length."""
    return b"POST /upload HTTP/1.1\r\n%bcontent-length: %d\r\n\r\n%b" % (HEAD, len(body), body)


def chunked(body: bytes) -> bytes:
    """Return an upload with two chunks."""
    halves = [half for half in (body[: len(body) // 2], body[len(body) // 2 :]) if half]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(half), half) for half in halves)
    return b"POST /upload HTTP/1.1\r\n%btransfer-encoding: chunked\r\n\r\n%b0\r\n\r\n" % (HEAD, chunks)


def responses(client: socket.socket) -> Iterator[bytes]:
    """Yield the body of each response."""
    received = b""
    while True:
        while b"\r\n\r\n" not in received:
            received += (data := client.recv(65536))
            assert data, "the server should not close the connection"
        head, _, received = received.partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(received) < size:
            received += (data := client.recv(65536))
            assert data, "the server should not close the connection"
        yield received[:size]
        received = received[size:]


@given(st.lists(st.tuples(st.booleans(), BODIES), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_requests_are_answered_in_order_wherever_the_data_is_cut(
    service: Service, uploads: list[tuple[bool, bytes]], rng: random.Random
) -> None:
    """A body may look like the end of a request, or like a request."""
    data = b"".join((chunked if is_chunked else with_length)(body) + GET for is_chunked, body in uploads)
    cuts = sorted({0, len(data), *(rng.randrange(len(data)) for _ in range(4))})
    pieces = [data[start:end] for start, end in itertools.pairwise(cuts)]
    with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE_SECONDS) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sending = threading.Thread(target=lambda: list(map(client.sendall, pieces)))
        sending.start()
        received = responses(client)
        answers = [next(received) for _ in range(2 * len(uploads))]
        sending.join()

    expected = [(str(len(body)).encode(), b'{"data":{"hello":"hello you"}}') for _, body in uploads]
    assert answers == [answer for pair in expected for answer in pair]


def test_requests_that_wait_for_a_response_are_not_parsed(service: Service) -> None:
    """A client that sends many requests at once uses the memory of one request and of its unparsed data."""
    slow = b"GET /graphql?query=%7Bslow(seconds:1)%7D HTTP/1.1\r\n" + HEAD + b"\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE_SECONDS) as client:
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.sendall(slow + GET * 200_000)
        parsed = sum(type(each) is RequestResponseCycle for each in gc.get_objects())

    assert parsed < 50


@pytest.mark.skipif(sys.platform != "linux", reason="other systems report the end after the data")
def test_a_waiting_request_does_not_hide_the_end_of_its_client() -> None:
    """The server reads no data while a request waits. The work on the request before it ends nevertheless."""
    body = b'{"query": "subscription { count(to: 2, pause: 60) }"}'
    head = b"POST /graphql HTTP/1.1\r\n%baccept: text/event-stream\r\ncontent-type: application/json\r\n" % HEAD
    with running(GraphQLSettings(keep_alive_seconds=60)) as service:
        with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE_SECONDS) as client:
            client.sendall(b"%bcontent-length: %d\r\n\r\n%b%b" % (head, len(body), body, GET))
            while b"count" not in client.recv(65536):
                pass
            assert service.state.subscriptions == 1

        wait_until_no_subscriptions(service)


def test_tiny_chunks_do_not_stop_the_event_loop(service: Service) -> None:
    """The server handles other requests between portions of a body with very many chunks."""
    head = b"POST /upload HTTP/1.1\r\n%btransfer-encoding: chunked\r\n\r\n" % HEAD
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as client:
        client.sendall(head + b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n")

        assert next(responses(client)) == b"100000"
