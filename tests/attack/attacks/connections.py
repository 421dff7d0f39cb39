"""Connections and requests of clients without a key: pipelining, idle and slow connections, malformed requests."""

import asyncio
import itertools
import socket
from contextlib import AsyncExitStack
from functools import partial

from graphql_api.web.pages import GRAPHIQL_FOLDER
from tests.attack.registry import add, attack
from tests.attack.target import Target, repeat, send

_PIPELINED_BYTES = 13 * 2**20
_PIPELINED = {
    "health": ("GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n", True),
    "metrics": ("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n", False),
    "dashboard": ("GET / HTTP/1.1\r\nhost: a\r\naccept: text/html\r\n\r\n", False),
    "unknown_path": ("GET /x HTTP/1.1\r\nhost: a\r\n\r\n", False),
    "no_key": ("GET /samples/a HTTP/1.1\r\nhost: a\r\n\r\n", False),
    "empty_posts": ("POST /graphql HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", False),
    "small_posts": (
        "POST /graphql HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
        False,
    ),
    "chunked_posts": ("POST /samples HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", False),
}


async def pipelined(request: str, target: Target) -> None:
    """Send many requests over one connection without waiting for responses."""
    data = request.encode() * (_PIPELINED_BYTES // len(request))
    async with target.connection() as streams:
        await send(streams, data, target.seconds)


for _name, (_request, _is_short) in _PIPELINED.items():
    add(f"pipelined_{_name}", partial(pipelined, _request), is_short=_is_short)


async def pipelined_and_unread(target: Target) -> None:
    """Send many requests for the metrics over each of 20 connections, and read no response."""
    data = b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n" * 10_000
    async with AsyncExitStack() as opened:
        connections = [await opened.enter_async_context(target.connection()) for _ in range(20)]
        for _, writer in connections:
            writer.write(data)
        await asyncio.sleep(target.seconds)


add("pipelined_and_unread", pipelined_and_unread)


async def idle(number: int, first: bytes, target: Target) -> None:
    """Open many connections, send the start of a request over each, and keep them open."""
    async with AsyncExitStack() as opened:
        for _ in range(number // 100):
            results = await asyncio.gather(
                *(opened.enter_async_context(target.connection()) for _ in range(100)), return_exceptions=True
            )
            for result in results:
                if not isinstance(result, BaseException):
                    result[1].write(first)
        await asyncio.sleep(target.seconds)


_IDLE = {
    "after_health_check": b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n",
    "silent": b"",
    "half_a_request_line": b"GET /hea",
    "half_the_headers": b"GET /healthz HTTP/1.1\r\nhost: a\r\n",
    "half_a_body": b"POST /graphql HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{",
    "half_a_sign_in": (
        b"POST /session HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"
    ),
}
for _name, _first in _IDLE.items():
    add(f"idle_connections_{_name}", partial(idle, 4_100, _first), is_short=_name == "after_health_check")


async def _repeat_connection(target: Target, number: int, head: bytes) -> None:
    """Open `number` connections at a time, send the head of a request over each, and read the start of the response."""

    async def act() -> None:
        async with target.connection() as (reader, writer):
            writer.write(head)
            await reader.read(4096)

    await repeat(target, number, act)


async def _repeat_request(target: Target, number: int, head: bytes, end: bytes) -> None:
    """Send one request after the other over `number` connections. A response ends with `end`."""

    async def act() -> None:
        async with target.connection() as (reader, writer):
            while True:
                writer.write(head)
                await reader.readuntil(end)

    await repeat(target, number, act)


@attack()
async def connections_opened_and_reset(target: Target) -> None:
    """Open and reset connections as fast as possible."""

    async def loop() -> None:
        while True:
            try:
                async with target.connection() as (_, writer):
                    writer.write(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
            except OSError:
                await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(loop()) for _ in range(50)]
    await asyncio.wait(tasks, timeout=target.seconds)
    for task in tasks:
        task.cancel()


@attack()
async def headers_byte_by_byte(target: Target) -> None:
    """Send the headers of 500 requests one byte at a time."""
    async with AsyncExitStack() as opened:
        connections = [await opened.enter_async_context(target.connection()) for _ in range(500)]
        ends = asyncio.get_running_loop().time() + target.seconds
        while asyncio.get_running_loop().time() < ends:
            for _, writer in connections:
                writer.write(b"G")
            await asyncio.sleep(0.05)


@attack()
async def many_large_headers(target: Target) -> None:
    """Send requests with headers of 32 KiB as fast as possible."""
    head = b"GET /healthz HTTP/1.1\r\nhost: a\r\n" + b"".join(b"a%d: %s\r\n" % (n, b"x" * 300) for n in range(90))
    async with target.connection() as streams:
        await send(streams, (head + b"\r\n") * 400, target.seconds)


@attack()
async def one_byte_chunks(target: Target) -> None:
    """Send a body in 2 million chunks of one byte, with a valid key."""
    async with target.connection() as streams:
        streams[1].write(target.head("/samples", "content-type: application/json", "transfer-encoding: chunked"))
        await send(streams, b"1\r\n \r\n" * 2_000_000, target.seconds)


async def chunks_of_many_clients(path: str, key: bool, target: Target) -> None:
    """Send bodies in chunks of one byte over 100 connections. Each connection is reset after 1 MB."""
    head = target.head(path, "content-type: application/json", "transfer-encoding: chunked", key=key)

    async def act() -> None:
        async with target.connection() as streams:
            await send(streams, head + b"1\r\n \r\n" * 160_000, target.seconds)

    await repeat(target, 100, act)


for _name, _path, _has_key in (("sample", "/samples", True), ("query", "/graphql", True), ("request", "/x", False)):
    add(
        f"{_name}_in_tiny_chunks_of_100_clients",
        partial(chunks_of_many_clients, _path, _has_key),
        is_short=_name == "sample",
    )


@attack()
async def clients_that_vanish(target: Target) -> None:
    """Reset the connection in the middle of 2,000 uploads."""
    body = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [' + b"1.5, " * 100_000
    head = target.head("/samples", "content-type: application/json", "content-length: 20000000")

    async def vanish() -> None:
        for _ in range(40):
            async with target.connection() as (_, writer):
                writer.write(head + body)
                await asyncio.sleep(0.01)

    await asyncio.wait([asyncio.create_task(vanish()) for _ in range(50)], timeout=target.seconds)


@attack()
async def refused_handshakes(target: Target) -> None:
    """Send handshakes of WebSockets without the header Sec-WebSocket-Key, over many connections without a key."""
    head = target.head("/graphql", "connection: Upgrade", "upgrade: websocket", method="GET", key=False)
    await _repeat_connection(target, 16, head)


async def readiness_of_1500_clients(target: Target) -> None:
    """Request `/readyz` over 1,500 connections without a key, one request after the other."""
    head = target.head("/readyz", method="GET", key=False)
    await _repeat_request(target, 1_500, head, b"\r\n\r\nready\n")


add("readiness_of_1500_clients", readiness_of_1500_clients)


async def paths_of_15000_folders(page: str, target: Target) -> None:
    """Request files in thousands of folders that do not exist, over 64 connections without a key."""
    head = target.head(f"{page}/{'a/' * 15_000}", method="GET", key=False)
    await _repeat_request(target, 64, head, b"\r\n\r\n")


for _name, _page in (("dashboard", "/assets"), ("graphiql", "/graphql/assets")):
    add(f"paths_of_15000_folders_of_{_name}", partial(paths_of_15000_folders, _page), is_short=_name == "dashboard")


def request_of_largest_file(target: Target) -> bytes:
    """Return a request for the largest file of GraphiQL."""
    files = (GRAPHIQL_FOLDER / "dist" / "assets").glob("*.js")
    largest = max(files, key=lambda each: each.stat().st_size)
    return target.head(f"/graphql/assets/{largest.name}", method="GET", key=False)


async def files_unread(source: str, target: Target) -> None:
    """Request the largest file of GraphiQL over 2,400 connections with small receive buffers, and read nothing."""
    head = request_of_largest_file(target)
    async with AsyncExitStack() as opened:
        for _ in range(2_400):
            connection = opened.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            connection.bind((source, 0))
            connection.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", target.api_port))
            connection.send(head)
        await asyncio.sleep(target.seconds)


_BYSTANDER_ADDRESS, _OTHER_ADDRESS = "127.0.0.1", "127.0.0.2"
add("files_of_2400_clients_unread", partial(files_unread, _BYSTANDER_ADDRESS))
add("files_of_2400_clients_of_another_address_unread", partial(files_unread, _OTHER_ADDRESS), is_short=True)


@attack(is_valid_work=True)
async def streams_of_one_key(target: Target) -> None:
    """Open 2,200 event streams with one key from each of two addresses."""
    request = target.event_stream("subscription { results { cursor } }")
    sources = itertools.cycle((_BYSTANDER_ADDRESS, _OTHER_ADDRESS))

    async def act() -> None:
        async with target.connection(source=next(sources)) as (reader, writer):
            writer.write(request)
            await reader.read(4_096)
            await asyncio.sleep(target.seconds)

    await repeat(target, 4_400, act)


_HANDSHAKE = ("upgrade: websocket", "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==", "sec-websocket-version: 13")
_TOKENS = ",a" * 3_900
_HANDSHAKES = {
    "tokens": ["connection: upgrade", *([f"connection: a{_TOKENS}"] * 4)],
    "subprotocols": ["connection: upgrade", *([f"sec-websocket-protocol: graphql-transport-ws{_TOKENS}"] * 4)],
}
"""Headers of handshakes with lists of 15,000 items."""


async def handshakes(headers: list[str], target: Target) -> None:
    """Send handshakes of WebSockets with long lists over 16 connections without a key."""
    head = target.head("/graphql", *_HANDSHAKE, *headers, method="GET", key=False)
    await _repeat_connection(target, 16, head)


for _name, _headers in _HANDSHAKES.items():
    add(f"handshakes_with_15000_{_name}", partial(handshakes, _headers), is_short=_name == "tokens")


@attack()
async def different_subprotocols_of_480_websockets(target: Target) -> None:
    """Open 480 WebSockets with 6,000 different subprotocols each, without a key."""
    offers = [
        f"sec-websocket-protocol: {','.join(f'{letter}{number:x}' for number in range(1_500))}" for letter in "abcd"
    ]
    head = target.head("/graphql", *_HANDSHAKE, "connection: upgrade", *offers, method="GET", key=False)

    async def act() -> None:
        async with target.connection() as (reader, writer):
            writer.write(head)
            await reader.read()

    await repeat(target, 480, act)
