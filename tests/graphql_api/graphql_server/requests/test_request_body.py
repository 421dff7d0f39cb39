"""Request bodies: limits of size and time, and content encodings."""

import gzip
import random
import select
import socket
import time
import tracemalloc
from collections.abc import Callable, Iterator
from functools import cache
from http.client import HTTPResponse
from typing import Any

import pytest
import zstandard
from starlette.requests import Request
from starlette.types import Message

from graphql_api.graphql_server import GraphQLSettings
from graphql_api.graphql_server.requests.body_decoder import decoder_of
from graphql_api.graphql_server.requests.request_body import read_body
from storage.documents.errors import TooLarge
from tests.graphql_api.graphql_server.service import KEY, Service, error_of, running
from tests.graphql_api.turns import counted_turns
from tests.stack import PATIENCE_SECONDS

LIMIT = 1_000_000
HEAD = f"POST /graphql HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\n".encode()


@pytest.fixture(scope="module")
def limited() -> Iterator[Service]:
    """Serve with a low limit of bytes."""
    with running(GraphQLSettings(max_body_bytes=LIMIT)) as service:
        yield service


def receive_status(connection: socket.socket) -> bytes:
    """Read a response, and return its status."""
    response = HTTPResponse(connection)
    response.begin()
    response.read()
    return b"%d" % response.status


def test_a_content_length_over_the_limit_is_refused_before_the_body(limited: Service) -> None:
    """The client has sent nothing of the body when it gets the response."""
    with socket.create_connection(("127.0.0.1", limited.port), timeout=PATIENCE_SECONDS) as client:
        client.sendall(HEAD + b"content-length: %d\r\n\r\n" % (LIMIT + 1))
        assert receive_status(client) == b"413"


def test_a_chunked_body_is_refused_at_the_limit(limited: Service) -> None:
    """The server stops reading soon after the limit."""
    sent = 0
    with socket.create_connection(("127.0.0.1", limited.port), timeout=PATIENCE_SECONDS) as client:
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


def test_a_client_that_sends_everything_first_reads_the_refusal(limited: Service) -> None:
    """The connection is not reset before the client has read the response."""
    with socket.create_connection(("127.0.0.1", limited.port), timeout=PATIENCE_SECONDS) as client:
        body = b" " * (LIMIT + 1)
        client.sendall(HEAD + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        assert receive_status(client) == b"413"


def test_a_refused_body_is_discarded(limited: Service) -> None:
    """The rest of it is not parsed as a request, and the next request on the connection is executed."""
    with socket.create_connection(("127.0.0.1", limited.port), timeout=PATIENCE_SECONDS) as client:
        body = b"POST /evil HTTP/1.1\r\n\r\n" * (LIMIT // 20)
        client.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
        assert receive_status(client) == b"413"
        query = b'{"query":"{hello}"}'
        client.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(query) + query)
        assert receive_status(client) == b"200"


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "zstd", "identity", ""])
def test_encoded_bodies_are_decoded(limited: Service, encoding: str) -> None:
    """A body may have several gzip members or zstd frames."""
    parts = [b'{"query": "{hel', b'lo}"}']
    if encoding.lower().endswith("gzip"):
        parts = [gzip.compress(part) for part in parts]
    elif encoding == "zstd":
        parts = [zstandard.compress(part) for part in parts]

    response = limited.raw(b"".join(parts), **{"content-encoding": encoding})

    assert response.json() == {"data": {"hello": "hello you"}}


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
@pytest.mark.parametrize("piece", [1, 1000, 10**6])
def test_a_body_is_decoded_from_pieces_of_any_size(service: Service, compress: object, piece: int) -> None:
    """The decoded body has the length of the original. Pieces of one byte are slow, so the default rate applies."""
    assert callable(compress)
    content = random.Random(1).randbytes(3_000) + bytes(500_000)
    body = compress(content)
    encoding = "gzip" if compress is gzip.compress else "zstd"
    pieces = (body[start : start + piece] for start in range(0, len(body), piece))

    response = service.client.post("/upload", content=pieces, headers={"content-encoding": encoding})

    assert response.text == str(len(content))


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "gzip, zstd", "gzip,identity", "chunked"])
def test_unknown_and_stacked_encodings_are_unsupported(limited: Service, encoding: str) -> None:
    """The response lists the supported ones."""
    response = limited.raw(b"{}", **{"content-encoding": encoding})

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
def test_broken_encodings_are_bad_requests(limited: Service, encoding: str, body: bytes) -> None:
    """The status is not 500, and a truncated request is not executed."""
    assert error_of(limited.raw(body, **{"content-encoding": encoding})) == (400, "BAD_REQUEST")


def test_a_large_window_of_zstd_is_refused_with_the_limit(limited: Service) -> None:
    """Such data is valid. `zstd --long` uses windows of 128 MiB."""
    window = zstandard.ZstdCompressionParameters(window_log=27)
    compressor = zstandard.ZstdCompressor(compression_params=window).compressobj()  # it does not know the size
    body = compressor.compress(b'{"query": "{hello}"}') + compressor.flush()

    response = limited.raw(body, **{"content-encoding": "zstd"})

    assert error_of(response) == (400, "BAD_REQUEST")
    assert "a window of at most 8 MiB" in response.text


def zstandard_bomb() -> bytes:
    """Return a zstd frame in which every four bytes decode to 128 KiB."""
    block = bytes([0b010, 0, 0b10000]) + b" "  # not the last, one byte repeated, 128 KiB
    return b"\x28\xb5\x2f\xfd" + b"\x00" + b"\x58" + block * 8_000 + bytes([0b011, 0, 0b10000]) + b" "


@cache
def gzip_bomb() -> bytes:
    """Return the beginning of 300 MB of zeros, compressed. Made on first use: every process imports this module."""
    return gzip.compress(bytes(300_000_000), 1, mtime=0)[:900_000]


BOMBS = pytest.mark.parametrize(
    ("encoding", "bomb"), [("gzip", gzip_bomb), ("zstd", zstandard_bomb)], ids=["gzip", "zstd"]
)


@BOMBS
def test_compression_bombs_are_refused_at_the_limit(limited: Service, encoding: str, bomb: Callable[[], bytes]) -> None:
    """The server responds with 413."""
    response = limited.client.post("/upload", content=bomb(), headers={"content-encoding": encoding})

    assert error_of(response) == (413, "TOO_LARGE")


@BOMBS
async def test_a_compression_bomb_is_decoded_up_to_the_limit_only(encoding: str, bomb: Callable[[], bytes]) -> None:
    """It would decode to 300 MB or 1 GB. The decoder never holds more than a small part of that."""
    body = bomb()

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-encoding", encoding.encode())]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            await read_body(request, LIMIT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 20 * LIMIT


@pytest.mark.parametrize("content_length", [b"content-length: 100", b"transfer-encoding: chunked"])
def test_a_trickled_body_is_refused(content_length: bytes) -> None:
    """The minimum rate covers all bytes of the body together."""
    settings = GraphQLSettings(body_grace_seconds=0.5, min_body_bytes_per_second=1_000_000)
    deadline = time.monotonic() + PATIENCE_SECONDS
    with (
        running(settings) as service,
        socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE_SECONDS) as client,
    ):
        client.sendall(HEAD + content_length + b"\r\n\r\n")
        while not select.select([client], [], [], 0.1)[0] and time.monotonic() < deadline:
            client.sendall(b"1\r\n \r\n" if b"chunked" in content_length else b" ")
        assert receive_status(client) == b"408"


def test_an_incomplete_body_is_not_executed(limited: Service) -> None:
    """The client disconnects before the last byte."""
    query = b'{"query":"mutation($s: RawSample!) { submit(sample: $s) }","variables":{"s":1}}'
    with socket.create_connection(("127.0.0.1", limited.port), timeout=PATIENCE_SECONDS) as client:
        client.sendall(HEAD + b"content-length: %d\r\n\r\n" % (len(query) + 1) + query)

    assert limited.post("{ hello }").status_code == 200
    assert limited.state.submitted == []


def request_of(body: bytes, encoding: str) -> Request:
    """Return a request whose body arrives at once."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "method": "POST", "headers": [(b"content-encoding", encoding.encode())]}, receive)


MEMBERS = 40_000
MAX_COPIED_BYTES = 4_096
"""For each empty member, so that the time is linear. It would be quadratic if the rest of the body was copied."""

EMPTY = pytest.mark.parametrize(
    ("encoding", "body"),
    [("gzip", gzip.compress(b"", mtime=0) * MEMBERS), ("zstd", zstandard.compress(b"") * MEMBERS)],
    ids=["gzip", "zstd"],
)


@EMPTY
async def test_the_time_for_empty_members_is_linear(
    monkeypatch: pytest.MonkeyPatch, encoding: str, body: bytes
) -> None:
    """After each member, zlib copies the rest of its input. Other tasks run meanwhile."""
    decoder = decoder_of(encoding.encode())
    assert decoder is not None
    inputs: list[int] = []
    decode = type(decoder).decode

    def count(self: Any, part: bytes) -> Iterator[bytes]:
        for piece in decode(self, part):
            inputs.append(len(part))
            yield piece

    monkeypatch.setattr(type(decoder), "decode", count)
    async with counted_turns() as turns:
        assert await read_body(request_of(body, encoding), len(body)) == b""

    assert len(inputs) >= MEMBERS
    assert max(inputs) <= MAX_COPIED_BYTES
    assert turns.count > 10


async def test_each_large_chunk_of_a_body_is_received_in_a_turn_of_its_own() -> None:
    """Hundreds of uploads would otherwise be received in one iteration of the event loop."""
    messages = [{"type": "http.request", "body": bytes(65_536), "more_body": number < 19} for number in range(20)]

    async def receive() -> Message:
        return messages.pop(0)

    async with counted_turns() as turns:
        body = await read_body(Request({"type": "http", "method": "POST", "headers": []}, receive), 2_000_000)

    assert len(body) == 20 * 65_536
    assert turns.count >= 19
