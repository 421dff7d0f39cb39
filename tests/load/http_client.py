"""HTTP for loads that wrk cannot generate: streams, single large bodies, and requests at a fixed rate.

It does as little as possible, because it shares processors with the measured process.
Note: the response to a stream starts while the request is still sent, so both proceed at the same time.
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
    """The number of response lines with the expected text, and the time they took."""

    good: int
    lines: int
    seconds: float

    @property
    def rate(self) -> float:
        """Successful lines per second."""
        return self.good / self.seconds


def stream(port: int, path: str, headers: Mapping[str, str], body: bytes, expected: bytes) -> Streamed:
    """Send `body` over a new connection and count the response lines as they arrive."""
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
        raise Failed(f"the response to a stream was {first[:200].decode(errors='replace')}")
    return Streamed(good, lines, seconds)


def _send(connection: socket.socket, request: bytes) -> None:
    try:
        connection.sendall(request)
    except (BrokenPipeError, ConnectionResetError):
        return  # the reader reports the incomplete response


class Connection:
    """A persistent connection that carries one request at a time."""

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
        """Close the connection."""
        self._writer.close()
        await self._writer.wait_closed()

    async def graphql(self, body: bytes) -> Any:
        """Return the data of a GraphQL response. Raises `Failed` if it has errors."""
        answer = json.loads(await self.post("/graphql", body))
        if "data" not in answer or "errors" in answer:
            raise Failed(f"GraphQL responded {str(answer)[:300]}")
        return answer["data"]

    async def post(self, path: str, body: bytes) -> bytes:
        """Return the body of a response."""
        self._writer.write(_head("POST", path, {**self._headers, "content-length": str(len(body))}))
        self._writer.write(body)
        await self._writer.drain()
        head = await self._reader.readuntil(b"\r\n\r\n")
        _, _, length = head.lower().partition(b"content-length:")
        if not length:
            raise Failed(f"a response without a content-length: {head[:300].decode(errors='replace')}")
        return await self._reader.readexactly(int(length.split(b"\r\n")[0]))

    async def events(self, body: bytes) -> AsyncIterator[Any]:
        """Subscribe and yield the data of each event as it arrives. The connection then carries nothing else."""
        headers = {**self._headers, "accept": "text/event-stream", "content-length": str(len(body))}
        self._writer.write(_head("POST", "/graphql", headers) + body)
        while line := await self._reader.readline():
            if line.startswith(b"data:") and line[5:].strip():
                yield json.loads(line[5:])


def _head(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{lines}\r\n".encode()
