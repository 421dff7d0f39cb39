"""What an attack can reach: the addresses of a stack, and the API key of a tenant."""

import asyncio
import base64
import json
import os
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

SAMPLE = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1.5, 2.5, 3.5]}'
AUDIENCE = "http://dropzone.example"
"""The audience of access tokens."""
JSON, NDJSON = "application/json", "application/x-ndjson"
_PIECE_BYTES = 2**16

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Act = Callable[[], Awaitable[object]]


class Harm(Exception):
    """The attack succeeded. The message says what it achieved."""


@dataclass(frozen=True, slots=True)
class Target:
    """A stack under attack.

    Both keys belong to the attacking tenant. `key` has the scopes `submit` and `read`. `admin_key` also has `admin`.
    """

    api_port: int
    function_port: int
    firestore_port: int
    key: str
    admin_key: str
    seconds: float
    """How long an attack lasts that has no end of its own."""
    provider_port: int
    """The port of the identity provider of an attack that has one."""

    @property
    def url(self) -> str:
        """The URL of the API."""
        return f"http://127.0.0.1:{self.api_port}"

    def client(self, connections: int = 100, timeout: float = 30.0, *, is_admin: bool = False) -> httpx.AsyncClient:
        """Return an HTTP client with a key of the attacker."""
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        headers = {"x-api-key": self.admin_key if is_admin else self.key, "content-type": JSON}
        return httpx.AsyncClient(base_url=self.url, headers=headers, limits=limits, timeout=timeout)

    def head(self, path: str, *headers: str, method: str = "POST", key: bool = True) -> bytes:
        """Return the head of a request, with the key of the attacker unless `key` is false."""
        lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", *headers, *([f"x-api-key: {self.key}"] if key else [])]
        return "\r\n".join(lines).encode() + b"\r\n\r\n"

    def event_stream(self, query: str, **variables: Any) -> bytes:
        """Return a request for an operation whose responses are sent as events."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        head = self.head(
            "/graphql", f"content-type: {JSON}", "accept: text/event-stream", f"content-length: {len(body)}"
        )
        return head + body

    async def fill(self, samples: int) -> None:
        """Store samples in one request."""
        async with self.client() as client:
            await client.post("/samples", content=(SAMPLE + b"\n") * samples, headers={"content-type": NDJSON})

    @asynccontextmanager
    async def connection(self, port: int | None = None, *, source: str | None = None) -> AsyncIterator[Streams]:
        """Open a connection to the API, or to another port, from the address `source`. It is reset at the end."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port or self.api_port, limit=2**20, local_addr=None if source is None else (source, 0)
        )
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    @asynccontextmanager
    async def websocket(self, *, init: bool, is_admin: bool = False) -> AsyncIterator[Streams]:
        """Open a WebSocket. With `init`, authenticate it with a key of the attacker."""
        async with self.connection() as (reader, writer):
            key = base64.b64encode(os.urandom(16)).decode()
            writer.write(
                self.head(
                    "/graphql",
                    "upgrade: websocket",
                    "connection: Upgrade",
                    f"sec-websocket-key: {key}",
                    "sec-websocket-version: 13",
                    "sec-websocket-protocol: graphql-transport-ws",
                    method="GET",
                    key=False,
                )
            )
            await reader.readuntil(b"\r\n\r\n")
            if init:
                api_key = self.admin_key if is_admin else self.key
                payload = b'{"type": "connection_init", "payload": {"x-api-key": "%s"}}' % api_key.encode()
                writer.write(frame(1, payload))
                await reader.readuntil(b"connection_ack")
            yield reader, writer


def frame(opcode: int, payload: bytes = b"", *, is_final: bool = True) -> bytes:
    """Return a masked WebSocket frame (RFC 6455, section 5.2). The mask is zero, so the payload stays readable."""
    head = bytes([(0x80 if is_final else 0) | opcode])
    if len(payload) < 126:
        length = bytes([0x80 | len(payload)])
    elif len(payload) < 65_536:
        length = b"\xfe" + struct.pack("!H", len(payload))
    else:
        length = b"\xff" + struct.pack("!Q", len(payload))
    return head + length + bytes(4) + payload


async def send(streams: Streams, data: bytes, seconds: float) -> None:
    """Send `data` for at most `seconds`, while discarding the responses.

    A server that closes the connection, or that stops reading, has defended itself.
    """
    pieces = (data[start : start + _PIECE_BYTES] for start in range(0, len(data), _PIECE_BYTES))
    await send_each(streams, pieces, seconds)


async def send_each(streams: Streams, pieces: Iterable[bytes], seconds: float) -> None:
    """Send pieces of data, as `send` does."""
    reader, writer = streams
    discarding = asyncio.create_task(_discard(reader))
    try:
        async with asyncio.timeout(seconds):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
    except (TimeoutError, ConnectionError):
        pass
    finally:
        discarding.cancel()


async def _discard(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(2**16):
            pass
    except ConnectionError:
        pass


async def post(target: Target, body: bytes, *headers: str, path: str = "/samples", seconds: float = 30.0) -> bytes:
    """Post a body over a connection of its own. Return the first 64 KiB of the response; empty if there is none."""
    async with target.connection() as (reader, writer):
        writer.write(target.head(path, *headers, f"content-length: {len(body)}", "connection: close"))
        try:
            async with asyncio.timeout(seconds):
                writer.write(body)
                await writer.drain()
                return await reader.read(2**16)
        except (TimeoutError, ConnectionError):
            return b""


async def repeat(target: Target, number: int, act: Act) -> None:
    """Repeat `act` in `number` tasks until the time of the attack is over. Failed requests do not end it."""

    async def loop() -> None:
        while True:
            try:
                await act()
            except (httpx.HTTPError, ConnectionError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(loop()) for _ in range(number)]
    done, pending = await asyncio.wait(tasks, timeout=target.seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()
