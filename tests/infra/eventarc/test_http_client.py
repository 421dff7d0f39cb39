"""The HTTP client of event delivery, against servers that respond in every way HTTP/1.1 allows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from infra.embedded.eventarc.http_client import BrokenConnection, HttpClient, Response, Unreachable
from tests import asyncio_server
from tests.ports import free_port

HEADERS = {"ce-id": "1"}
TIMEOUT_SECONDS = 10.0


class Server:
    """Responds to each request with the next list of pieces. None ends the connection."""

    def __init__(self) -> None:
        self.port = free_port()
        self.connections = 0
        self.requests: list[bytes] = []
        self.responses: list[list[bytes | None]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        try:
            while True:
                request = await reader.readuntil(b"body")
                self.requests.append(request)
                for piece in self.responses.pop(0):
                    if piece is None:
                        return
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.01)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server whose responses the test chooses."""
    server = Server()
    async with await asyncio.start_server(server.serve, "127.0.0.1", server.port) as listening:
        yield server
        await asyncio_server.close(listening)


@pytest.fixture
async def client(server: Server) -> AsyncIterator[HttpClient]:
    """A client of the server."""
    client = HttpClient(f"http://127.0.0.1:{server.port}/path?x=1")
    yield client
    client.close()


COMPLETE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOK"
RESPONSES: dict[str, tuple[list[bytes | None], Response]] = {
    "with a length": ([COMPLETE], Response(200, b"OK")),
    "in pieces": ([COMPLETE[:9], COMPLETE[9:30], COMPLETE[30:]], Response(200, b"OK")),
    "in chunks": (
        [b"HTTP/1.1 201 X\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\nO\r\n", b"1\r\nK\r\n0\r\n\r\n"],
        Response(201, b"OK"),
    ),
    "without a body": ([b"HTTP/1.1 204 No Content\r\n\r\n"], Response(204, b"")),
    "after an interim one": ([b"HTTP/1.1 102 Processing\r\n\r\n", COMPLETE], Response(200, b"OK")),
    "until the end of the connection": ([b"HTTP/1.0 500 X\r\n\r\n", b"no", None], Response(500, b"no")),
}


@pytest.mark.parametrize("how", RESPONSES)
async def test_a_response_is_parsed(server: Server, client: HttpClient, how: str) -> None:
    """The response declares its length in one of several ways, or not at all."""
    pieces, expected = RESPONSES[how]
    server.responses = [pieces]

    response = await client.post(HEADERS, b"body", TIMEOUT_SECONDS)

    assert response == expected
    [request] = server.requests
    assert request.startswith(b"POST /path?x=1 HTTP/1.1\r\nhost: 127.0.0.1:")
    assert request.endswith(b"\r\nce-id: 1\r\ncontent-length: 4\r\n\r\nbody")


INCOMPLETE: dict[str, list[bytes | None]] = {
    "no byte": [None],
    "half of the headers": [b"HTTP/1.1 200 OK\r\ncontent", None],
    "half of the body": [COMPLETE[:-1], None],
    "invalid HTTP": [b"SSH-2.0-OpenSSH_9.2\r\n"],
}


@pytest.mark.parametrize("how", INCOMPLETE)
async def test_an_incomplete_response_is_an_error(server: Server, client: HttpClient, how: str) -> None:
    """The connection is not reused."""
    server.responses = [INCOMPLETE[how], [COMPLETE]]

    with pytest.raises(BrokenConnection):
        await client.post(HEADERS, b"body", TIMEOUT_SECONDS)

    assert await client.post(HEADERS, b"body", TIMEOUT_SECONDS) == Response(200, b"OK")
    assert server.connections == 2


async def test_connections_are_reused(server: Server, client: HttpClient) -> None:
    """Sequential requests need one connection, three concurrent requests need three."""
    server.responses = [[COMPLETE] for _ in range(9)]

    for _ in range(3):
        await client.post(HEADERS, b"body", TIMEOUT_SECONDS)
    one = server.connections
    await asyncio.gather(*(client.post(HEADERS, b"body", TIMEOUT_SECONDS) for _ in range(3)))
    await asyncio.gather(*(client.post(HEADERS, b"body", TIMEOUT_SECONDS) for _ in range(3)))

    assert (one, server.connections) == (1, 3)


async def test_a_connection_that_the_server_closes_is_not_reused(server: Server, client: HttpClient) -> None:
    """The client obeys `connection: close`."""
    closing = COMPLETE.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    server.responses = [[closing], [COMPLETE]]

    await client.post(HEADERS, b"body", TIMEOUT_SECONDS)
    await client.post(HEADERS, b"body", TIMEOUT_SECONDS)

    assert server.connections == 2


async def test_a_request_is_not_repeated_if_a_reused_connection_ends_without_a_response(
    server: Server, client: HttpClient
) -> None:
    """The request may have killed the server. The client does not send it to the next process by itself."""
    server.responses = [[COMPLETE], [None], [COMPLETE]]

    await client.post(HEADERS, b"body", TIMEOUT_SECONDS)
    with pytest.raises(BrokenConnection):
        await client.post(HEADERS, b"body", TIMEOUT_SECONDS)

    assert server.connections == 1
    assert len(server.requests) == 2


async def test_a_request_without_reuse_opens_a_connection(server: Server, client: HttpClient) -> None:
    """A connection that the server closes at the same time then cannot break the request."""
    server.responses = [[COMPLETE], [COMPLETE]]

    await client.post(HEADERS, b"body", TIMEOUT_SECONDS)
    await client.post(HEADERS, b"body", TIMEOUT_SECONDS, reuse=False)

    assert server.connections == 2


async def test_a_late_response_is_not_the_response_to_the_next_request(server: Server, client: HttpClient) -> None:
    """The connection of a request that timed out is not reused."""
    server.responses = [[COMPLETE[:9]], [COMPLETE]]

    with pytest.raises(TimeoutError):
        await client.post(HEADERS, b"body", 0.05)

    assert await client.post(HEADERS, b"body", TIMEOUT_SECONDS) == Response(200, b"OK")
    assert server.connections == 2


@pytest.mark.parametrize(
    "send", [lambda client: client.post(HEADERS, b"", TIMEOUT_SECONDS), lambda client: client.probe()]
)
async def test_a_refused_connection_is_a_different_error(send: Callable[[HttpClient], Awaitable[object]]) -> None:
    """Nothing was sent, so nothing is known about the event."""
    client = HttpClient(f"http://127.0.0.1:{free_port()}/")

    with pytest.raises(Unreachable):
        await send(client)
