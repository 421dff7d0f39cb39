"""HTTP for what wrk cannot do: streams, single large bodies, and requests at a rate that is set.

As thin as can be, because it shares processors with what it measures. The trap: an answer to a stream
begins while the request is still sent, so the two go on at the same time.
"""

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from tests.load.process import Failed

RECEIVE_BYTES = 1 << 18
TIMEOUT_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Streamed:
    """How many lines were answered with the expected text, and in what time."""

    good: int
    lines: int
    seconds: float

    @property
    def rate(self) -> float:
        """Good lines a second."""
        return self.good / self.seconds


def stream(port: int, path: str, headers: Mapping[str, str], body: bytes, expected: bytes) -> Streamed:
    """Send `body` over a connection of its own and count the lines of the answer while they come."""
    named = {"content-length": str(len(body)), "connection": "close", **headers}
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as connection:
        sending = threading.Thread(target=_send, args=(connection, _head("POST", path, named) + body))
        sending.start()
        good, lines, rest = 0, 0, b""
        first = b""
        while received := connection.recv(RECEIVE_BYTES):
            first = first or received
            whole, _, rest = (rest + received).rpartition(b"\n")
            good += whole.count(expected)
            lines += whole.count(b'"line":')
        seconds = time.perf_counter() - began
        sending.join()
    if not first.startswith(b"HTTP/1.1 200"):
        raise Failed(f"a stream was answered {first[:200].decode(errors='replace')}")
    return Streamed(good, lines, seconds)


def _send(connection: socket.socket, request: bytes) -> None:
    try:
        connection.sendall(request)
    except (BrokenPipeError, ConnectionResetError):
        return  # whoever reads the answer sees that it is not whole


class Connection:
    """A kept connection that carries one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: Mapping[str, str]) -> None:
        self._reader = reader
        self._writer = writer
        self._headers = headers

    @classmethod
    async def open(cls, port: int, headers: Mapping[str, str]) -> Self:
        """Connect to a port of this machine."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        return cls(reader, writer, headers)

    async def close(self) -> None:
        """Let go."""
        self._writer.close()
        await self._writer.wait_closed()

    async def graphql(self, body: bytes) -> Any:
        """Return the data of an answer without errors."""
        answer = json.loads(await self.post("/graphql", body))
        if "data" not in answer or "errors" in answer:
            raise Failed(f"GraphQL answered {str(answer)[:300]}")
        return answer["data"]

    async def post(self, path: str, body: bytes) -> bytes:
        """Return the body of an answer."""
        self._writer.write(_head("POST", path, {**self._headers, "content-length": str(len(body))}))
        self._writer.write(body)
        await self._writer.drain()
        head = await self._reader.readuntil(b"\r\n\r\n")
        _, _, length = head.lower().partition(b"content-length:")
        if not length:
            raise Failed(f"an answer without a length: {head[:300].decode(errors='replace')}")
        return await self._reader.readexactly(int(length.split(b"\r\n")[0]))

    async def events(self, body: bytes) -> AsyncIterator[Any]:
        """Subscribe, and yield the data of each event as it comes; nothing else goes over this connection then."""
        headers = {**self._headers, "accept": "text/event-stream", "content-length": str(len(body))}
        self._writer.write(_head("POST", "/graphql", headers) + body)
        while line := await self._reader.readline():
            if line.startswith(b"data:") and line[5:].strip():
                yield json.loads(line[5:])


def _head(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{lines}\r\n".encode()
