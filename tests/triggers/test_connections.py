"""Connections without a request do not keep events out of the function."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send

from tests.ports import free_port
from triggers.connections import MAX_HEADER_BYTES, MAX_HEADERS, connection_class

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with 200 to each request."""
    del receive
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def serving(**limits: Any) -> AsyncIterator[Callable[[], Awaitable[Connection]]]:
    """Serve with these limits; yield a function that opens a connection."""
    port = free_port()
    config = uvicorn.Config(app, port=port, http=connection_class(**limits), log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    serve = asyncio.create_task(server.serve())
    writers: list[asyncio.StreamWriter] = []

    async def connect() -> Connection:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        return reader, writer

    try:
        async with asyncio.timeout(60):
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
            yield connect
    finally:
        for writer in writers:
            writer.close()
        server.should_exit = True
        await serve


async def request(connection: Connection) -> bytes:
    """Send a request; return the status line."""
    reader, writer = connection
    writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
    return (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0]


async def is_closed(connection: Connection) -> bool:
    """Wait until the server closes a connection."""
    try:
        return await connection[0].read() == b""
    except ConnectionResetError:
        return True


async def test_the_oldest_silent_connection_is_closed_if_there_are_too_many() -> None:
    """Those that have sent a request stay open, and new ones are served."""
    async with serving(max_connections=5, header_seconds=60) as connect:
        busy = [await connect() for _ in range(2)]
        assert [await request(each) for each in busy] == [b"HTTP/1.1 200 OK"] * 2
        silent = [await connect() for _ in range(3)]
        silent[0][1].write(b"GET / HTTP/1.1\r\nhost:")
        new = [await connect() for _ in range(2)]

        assert [await request(each) for each in [*new, *busy]] == [b"HTTP/1.1 200 OK"] * 4
        assert [await is_closed(each) for each in silent[:2]] == [True, True]
        assert await request(silent[2]) == b"HTTP/1.1 200 OK"


async def test_a_connection_without_a_request_is_closed_after_a_while() -> None:
    """A part of the headers does not keep it open."""
    async with serving(header_seconds=1.0) as connect:
        used = await connect()
        assert await request(used) == b"HTTP/1.1 200 OK"
        silent = await connect()
        silent[1].write(b"GET / HTTP/1.1\r\n")

        assert await is_closed(silent)
        assert await request(used) == b"HTTP/1.1 200 OK"


async def test_a_connection_is_closed_if_its_headers_do_not_end() -> None:
    """It would otherwise fill the memory, for example with one header of a gigabyte."""
    async with serving(header_seconds=60) as connect:
        endless = await connect()
        endless[1].write(b"GET / HTTP/1.1\r\nhost: localhost\r\na: " + b"x" * (MAX_HEADER_BYTES + 1))

        assert await is_closed(endless)
        assert await request(await connect()) == b"HTTP/1.1 200 OK"


async def test_a_request_with_too_many_headers_is_refused() -> None:
    """Small headers would otherwise use a hundred times the memory of their data."""
    async with serving(header_seconds=60) as connect:
        reader, writer = await connect()
        writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n" + b"a:\r\n" * (MAX_HEADERS + 1))

        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        assert await request(await connect()) == b"HTTP/1.1 200 OK"


async def test_a_body_that_arrives_with_its_headers_does_not_count_as_headers() -> None:
    """The body of an event is longer than headers may be."""
    async with serving(header_seconds=60) as connect:
        reader, writer = await connect()
        size = 2 * MAX_HEADER_BYTES
        writer.write(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % size + bytes(size))

        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_a_request_that_does_not_wait_for_the_previous_response_is_not_parsed() -> None:
    """Thousands of requests that arrive together would need a hundred times the memory of their data."""
    async with serving() as connect:
        reader, writer = await connect()
        writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n" * 1_000)

        response = await reader.read()

        assert response.count(b"HTTP/1.1 ") == response.count(b"HTTP/1.1 200 ") == 1
        connection = await connect()
        assert [await request(connection) for _ in range(3)] == [b"HTTP/1.1 200 OK"] * 3
