"""POST to one address, many at once, on connections that are kept.

This is all that delivery needs of HTTP/1.1, for less than half of the processor time that a general
client takes: at thousands of events a second, beside the database, that counts. httptools parses.
The trap: a server may close a kept connection just when it is used again. If no byte of an answer came
the request is sent once more on a new one; it may then arrive twice, as every event may.
"""

import asyncio
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpResponseParser

KEEP_SECONDS = 1.0  # less than what common servers close idle connections after
CONNECT_SECONDS = 5.0
MAX_ANSWER_BYTES = 65_536


class Unreachable(Exception):
    """Nobody listens at the address: nothing was sent."""


class Broken(Exception):
    """The connection ended, or made no sense, before the answer was complete."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body of a response."""

    status: int
    body: bytes


class _Connection(asyncio.Protocol):
    """One request at a time."""

    transport: Any  # an asyncio.Transport, but uvloop's is not one by its class

    def __init__(self) -> None:
        self.used = 0.0
        self.reusable = False
        self.heard = False  # anything of the answer under way
        self._answer: asyncio.Future[Answer] | None = None
        self._parser = HttpResponseParser(self)
        self._body = b""
        self._tells_length = False
        self._ends_with_connection = False

    async def send(self, request: bytes, seconds: float) -> Answer:
        """Send a request and return its answer; TimeoutError if it is not there in time."""
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        self.heard = self.reusable = False
        self.transport.write(request)
        deadline = loop.call_later(seconds, self._expire)  # costs a fifth of what asyncio.timeout does
        try:
            return await self._answer
        finally:
            deadline.cancel()
            self._answer = None
            if not self.reusable:
                self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        self.heard = True
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._fail(f"no HTTP: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the request under way, unless the end of the connection is the end of its answer."""
        self.reusable = False
        if self._ends_with_connection and exc is None:
            self._complete()
        else:
            self._fail(str(exc or "the connection was closed"))

    def on_message_begin(self) -> None:
        """Begin an answer."""
        self._body = b""
        self._tells_length = False

    def on_header(self, name: bytes, _: bytes) -> None:
        """Note whether the answer tells its own length."""
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._tells_length = True

    def on_headers_complete(self) -> None:
        """From here on the end of the connection may be the end of the answer."""
        self._ends_with_connection = not self._tells_length

    def on_body(self, part: bytes) -> None:
        """Keep the beginning of the body."""
        self._body += part[: MAX_ANSWER_BYTES - len(self._body)]

    def on_message_complete(self) -> None:
        """Answer, unless there is only said that an answer will come (1xx)."""
        self._ends_with_connection = False
        if self._parser.get_status_code() >= 200:
            self.reusable = self._parser.should_keep_alive()
            self._complete()

    def _complete(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(self._parser.get_status_code(), self._body))

    def _expire(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(TimeoutError())

    def _fail(self, problem: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Broken(problem))


class Address:
    """An HTTP address to post to."""

    def __init__(self, url: str) -> None:
        """Nothing is connected before the first request."""
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._secure = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._secure else 80)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._head = f"POST {path} HTTP/1.1\r\nhost: {parts.netloc.rpartition('@')[2]}\r\n"
        self._idle: list[_Connection] = []

    async def post(self, headers: Mapping[str, str], body: bytes, seconds: float) -> Answer:
        """Send a request; Unreachable if nobody is there, Broken if the answer does not come to its end.

        TimeoutError if it does not within so many seconds.
        """
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        request = f"{self._head}{lines}content-length: {len(body)}\r\n\r\n".encode("ascii") + body
        connection = self._kept()
        if connection is not None:
            try:
                return await self._send(connection, request, seconds)
            except Broken:
                if connection.heard:
                    raise
        return await self._send(await self._connect(), request, seconds)

    async def probe(self) -> None:
        """Find out whether somebody listens; Unreachable if not."""
        (await self._connect()).transport.close()

    def close(self) -> None:
        """Close the connections that are kept."""
        for connection in self._idle:
            connection.transport.close()

    async def _send(self, connection: _Connection, request: bytes, seconds: float) -> Answer:
        answer = await connection.send(request, seconds)
        if connection.reusable:
            connection.used = time.monotonic()
            self._idle.append(connection)
        return answer

    def _kept(self) -> _Connection | None:
        """Return the connection that was used last, and close those that were kept too long."""
        oldest = time.monotonic() - KEEP_SECONDS
        while self._idle and (self._idle[0].used < oldest or not self._idle[0].reusable):
            self._idle.pop(0).transport.close()
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable:
                return connection
        return None

    async def _connect(self) -> _Connection:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await asyncio.get_running_loop().create_connection(
                    _Connection, self._host, self._port, ssl=self._secure
                )
        except TimeoutError as error:
            raise Unreachable(f"no connection to {self._host}:{self._port} within {CONNECT_SECONDS:g} s") from error
        except OSError as error:
            raise Unreachable(str(error)) from error
        return connection
