"""Request bodies: bounded, decoded, and in time; for GraphQL and for plain uploads alike."""

import gzip
import random
import socket
import time
from collections.abc import Iterator

import pytest
import zstandard

from graphql_api.graphql_server import GraphQLSettings
from tests.graphql_api.graphql_server.service import KEY, Service, error_of, running

LIMIT = 1_000_000
HEAD = f"POST /graphql HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\n".encode()


@pytest.fixture(scope="module")
def strict() -> Iterator[Service]:
    """Serve with small limits."""
    settings = GraphQLSettings(max_body_bytes=LIMIT, body_grace_seconds=0.5, min_body_bytes_per_second=1_000_000)
    with running(settings) as service:
        yield service


def receive_status(connection: socket.socket) -> bytes:
    """Read the status of the answer."""
    return connection.recv(4096).split(b" ", 2)[1]


def test_a_declared_size_over_the_limit_is_refused_before_it_is_sent(strict: Service) -> None:
    """Nothing of the body was read, because nothing was sent."""
    with socket.create_connection(("127.0.0.1", strict.port), timeout=10) as client:
        client.sendall(HEAD + b"content-length: %d\r\n\r\n" % (LIMIT + 1))
        assert receive_status(client) == b"413"


def test_an_undeclared_size_is_cut_at_the_limit(strict: Service) -> None:
    """Chunks go on only until there are too many of them."""
    sent = 0
    with socket.create_connection(("127.0.0.1", strict.port), timeout=10) as client:
        client.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        client.settimeout(5)
        try:
            while sent < 100 * LIMIT:
                client.sendall(chunk)
                sent += len(chunk)
        except OSError:  # the server reads no more
            pass
        assert receive_status(client) == b"413"
    assert sent < 20 * LIMIT


def test_a_client_that_sends_everything_first_reads_the_refusal(strict: Service) -> None:
    """The connection is not reset under an answer that nobody has read."""
    with socket.create_connection(("127.0.0.1", strict.port), timeout=10) as client:
        body = b" " * (LIMIT + 1)
        client.sendall(HEAD + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        assert receive_status(client) == b"413"


def test_the_next_request_on_the_connection_is_answered_after_a_refusal(strict: Service) -> None:
    """What was left of the body is not taken for a request."""
    with socket.create_connection(("127.0.0.1", strict.port), timeout=10) as client:
        body = b"POST /evil HTTP/1.1\r\n\r\n" * (LIMIT // 20)
        client.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
        assert receive_status(client) == b"413"
        question = b'{"query":"{hello}"}'
        client.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(question) + question)
        assert receive_status(client) == b"200"


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "zstd", "identity", ""])
def test_encoded_bodies_are_decoded(strict: Service, encoding: str) -> None:
    """In one piece or in several members or frames."""
    parts = [b'{"query": "{hel', b'lo}"}']
    if encoding.lower().endswith("gzip"):
        parts = [gzip.compress(part) for part in parts]
    elif encoding == "zstd":
        parts = [zstandard.compress(part) for part in parts]

    response = strict.raw(b"".join(parts), **{"content-encoding": encoding})

    assert response.json() == {"data": {"hello": "hello you"}}


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
@pytest.mark.parametrize("piece", [1, 1000, 10**6])
def test_a_stream_is_decoded_however_it_is_cut(strict: Service, compress: object, piece: int) -> None:
    """What comes out has the length of what went in."""
    assert callable(compress)
    content = random.Random(1).randbytes(3_000) + bytes(500_000)
    body = compress(content)
    encoding = "gzip" if compress is gzip.compress else "zstd"
    pieces = (body[start : start + piece] for start in range(0, len(body), piece))

    response = strict.client.post("/upload", content=pieces, headers={"content-encoding": encoding})

    assert response.text == str(len(content))


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "gzip, zstd", "gzip,identity", "chunked"])
def test_unknown_and_stacked_encodings_are_unsupported(strict: Service, encoding: str) -> None:
    """The answer says which are supported."""
    response = strict.raw(b"{}", **{"content-encoding": encoding})

    assert error_of(response) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert response.headers["accept-encoding"] == "gzip, zstd"


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b"plain"),
        ("zstd", b"plain"),
        ("gzip", b""),
        ("zstd", b""),
        ("gzip", gzip.compress(b'{"query": "{hello}"}', mtime=0)[:-1]),
        ("zstd", zstandard.compress(b'{"query": "{hello}"}')[:-1]),
        ("gzip", gzip.compress(b'{"query": "{hello}"}', mtime=0) + b"more"),
        ("zstd", zstandard.compress(b'{"query": "{hello}"}') + b"more"),
    ],
)
def test_broken_encodings_are_bad_requests(strict: Service, encoding: str, body: bytes) -> None:
    """Not a 500, and no half of a request is taken for a whole one."""
    assert error_of(strict.raw(body, **{"content-encoding": encoding})) == (400, "BAD_REQUEST")


def zstandard_bomb() -> bytes:
    """Return a frame in which every four bytes stand for 128 KiB."""
    block = bytes([0b010, 0, 0b10000]) + b" "  # not the last, one byte repeated, 128 KiB
    return b"\x28\xb5\x2f\xfd" + b"\x00" + b"\x58" + block * 8_000 + bytes([0b011, 0, 0b10000]) + b" "


@pytest.mark.parametrize(
    ("encoding", "body"),
    [("gzip", gzip.compress(bytes(300_000_000), 1, mtime=0)), ("zstd", zstandard_bomb())],
    ids=["gzip", "zstd"],
)
def test_bombs_are_cut_at_the_limit(strict: Service, encoding: str, body: bytes) -> None:
    """A third of a GiB, or a whole one, is not decoded to find out that it is too much."""
    began = time.monotonic()
    response = strict.client.post("/upload", content=body[:900_000], headers={"content-encoding": encoding})

    assert error_of(response) == (413, "TOO_LARGE")
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("content_length", [b"content-length: 100", b"transfer-encoding: chunked"])
def test_a_trickled_body_is_cut_off(strict: Service, content_length: bytes) -> None:
    """Every byte comes in time, and all of them do not."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", strict.port), timeout=10) as client:
        client.sendall(HEAD + content_length + b"\r\n\r\n")
        client.settimeout(0.1)
        status = b""
        while not status and time.monotonic() - began < 5:
            client.sendall(b"1\r\n \r\n" if b"chunked" in content_length else b" ")
            try:
                status = receive_status(client)
            except TimeoutError:
                continue
    assert status == b"408"
    assert 0.4 < time.monotonic() - began < 3


def test_a_client_that_goes_in_the_middle_leaves_nothing(strict: Service) -> None:
    """The sample was not whole, so it was not submitted."""
    query = b'{"query":"mutation($s: RawSample!) { submit(sample: $s) }","variables":{"s":1}}'
    with socket.create_connection(("127.0.0.1", strict.port), timeout=10) as client:
        client.sendall(HEAD + b"content-length: %d\r\n\r\n" % (len(query) + 1) + query)

    assert strict.post("{ hello }").status_code == 200
    assert strict.state.submitted == []
