"""The client that posts events, against servers that answer in every way HTTP/1.1 allows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from infra.embedded.eventarc.http import Address, Answer, Broken, Unreachable
from tests.ports import free_port

HEADERS = {"ce-id": "1"}
SECONDS = 10.0


class Server:
    """Answers each request on a connection with the next of some given pieces; None ends the connection."""

    def __init__(self) -> None:
        self.port = free_port()
        self.connections = 0
        self.requests: list[bytes] = []
        self.answers: list[list[bytes | None]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        try:
            while True:
                request = await reader.readuntil(b"body")
                self.requests.append(request)
                for piece in self.answers.pop(0):
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
    """A server that says what it is told."""
    server = Server()
    async with await asyncio.start_server(server.serve, "127.0.0.1", server.port):
        yield server


@pytest.fixture
async def address(server: Server) -> AsyncIterator[Address]:
    """The server's address."""
    address = Address(f"http://127.0.0.1:{server.port}/path?x=1")
    yield address
    address.close()


COMPLETE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOK"
ANSWERS: dict[str, tuple[list[bytes | None], Answer]] = {
    "with a length": ([COMPLETE], Answer(200, b"OK")),
    "in pieces": ([COMPLETE[:9], COMPLETE[9:30], COMPLETE[30:]], Answer(200, b"OK")),
    "in chunks": (
        [b"HTTP/1.1 201 X\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\nO\r\n", b"1\r\nK\r\n0\r\n\r\n"],
        Answer(201, b"OK"),
    ),
    "without a body": ([b"HTTP/1.1 204 No Content\r\n\r\n"], Answer(204, b"")),
    "after an interim one": ([b"HTTP/1.1 102 Processing\r\n\r\n", COMPLETE], Answer(200, b"OK")),
    "up to the end of the connection": ([b"HTTP/1.0 500 X\r\n\r\n", b"no", None], Answer(500, b"no")),
}


@pytest.mark.parametrize("how", ANSWERS)
async def test_an_answer_is_understood(server: Server, address: Address, how: str) -> None:
    """However its length is told."""
    pieces, expected = ANSWERS[how]
    server.answers = [pieces]

    answer = await address.post(HEADERS, b"body", SECONDS)

    assert answer == expected
    [request] = server.requests
    assert request.startswith(b"POST /path?x=1 HTTP/1.1\r\nhost: 127.0.0.1:")
    assert request.endswith(b"\r\nce-id: 1\r\ncontent-length: 4\r\n\r\nbody")


BROKEN: dict[str, list[bytes | None]] = {
    "no byte": [None],
    "half a head": [b"HTTP/1.1 200 OK\r\ncontent", None],
    "half a body": [COMPLETE[:-1], None],
    "no HTTP": [b"SSH-2.0-OpenSSH_9.2\r\n"],
}


@pytest.mark.parametrize("how", BROKEN)
async def test_half_an_answer_is_none(server: Server, address: Address, how: str) -> None:
    """And the connection is not used again."""
    server.answers = [BROKEN[how], [COMPLETE]]

    with pytest.raises(Broken):
        await address.post(HEADERS, b"body", SECONDS)

    assert await address.post(HEADERS, b"body", SECONDS) == Answer(200, b"OK")
    assert server.connections == 2


async def test_connections_are_kept(server: Server, address: Address) -> None:
    """One after the other needs one, three at once need three."""
    server.answers = [[COMPLETE] for _ in range(9)]

    for _ in range(3):
        await address.post(HEADERS, b"body", SECONDS)
    one = server.connections
    await asyncio.gather(*(address.post(HEADERS, b"body", SECONDS) for _ in range(3)))
    await asyncio.gather(*(address.post(HEADERS, b"body", SECONDS) for _ in range(3)))

    assert (one, server.connections) == (1, 3)


async def test_a_connection_that_the_server_ends_is_not_used_again(server: Server, address: Address) -> None:
    """`connection: close` is obeyed."""
    closing = COMPLETE.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    server.answers = [[closing], [COMPLETE]]

    await address.post(HEADERS, b"body", SECONDS)
    await address.post(HEADERS, b"body", SECONDS)

    assert server.connections == 2


async def test_a_kept_connection_that_ends_just_when_it_is_used_costs_nothing(server: Server, address: Address) -> None:
    """The request is sent once more, on a new one."""
    server.answers = [[COMPLETE], [None], [COMPLETE]]

    await address.post(HEADERS, b"body", SECONDS)
    answer = await address.post(HEADERS, b"body", SECONDS)

    assert answer == Answer(200, b"OK")
    assert server.connections == 2
    assert len(server.requests) == 3


async def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one(server: Server, address: Address) -> None:
    """What was given up may still be answered: on a connection that nobody uses any more."""
    server.answers = [[COMPLETE[:9]], [COMPLETE]]

    with pytest.raises(TimeoutError):
        await address.post(HEADERS, b"body", 0.05)

    assert await address.post(HEADERS, b"body", SECONDS) == Answer(200, b"OK")
    assert server.connections == 2


@pytest.mark.parametrize("ask", [lambda address: address.post(HEADERS, b"", SECONDS), lambda address: address.probe()])
async def test_nobody_there_is_another_fault(ask: Callable[[Address], Awaitable[object]]) -> None:
    """Nothing was sent, so that nothing is said about the event."""
    address = Address(f"http://127.0.0.1:{free_port()}/")

    with pytest.raises(Unreachable):
        await ask(address)
