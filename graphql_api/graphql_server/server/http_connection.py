"""Connections with the bounds that uvicorn lacks, as subclasses of its protocol classes.

uvicorn waits for ever for headers that trickle, keeps any number of connections and headers, and lets a
client that reads nothing keep what was written for it. Here each of these ends.

A trap: an answer to a body that was not read (401, 413) must not be followed by closing the connection at
once, because a client that still sends would get a reset in place of the answer. What it sends is thrown
away for a moment first.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any, cast

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from graphql_api.errors import shorten
from graphql_api.graphql_server.server.stall_timer import StallTimer

LAST_WORDS = "last words"
"""In `scope["state"]`: gives what to send to a client that does not read, for the day when it does: bytes of a
stream, or texts over a WebSocket.
"""

logger = logging.getLogger("graphql_api")


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerSettings:
    """Bounds of connections; sizes in bytes, times in seconds."""

    header_seconds: float = 10.0  # from the first byte of a request, or from connecting
    max_header_bytes: int = 32 * 1024  # the request line and all headers together
    max_headers: int = 100
    max_connections: int = 4_000
    keep_alive_seconds: int = 75
    stalled_seconds: float = 20.0  # in which a client reads next to nothing of what was written for it
    reading_bytes_per_second: int = 1024  # what is more than next to nothing
    unread_seconds: float = 2.0  # a body that is still sent after its answer
    unread_bytes: int = 1024 * 1024
    max_message_bytes: int = 1024 * 1024  # of a WebSocket
    ping_seconds: float = 20.0
    shutdown_seconds: int = 1


def limited_http(settings: ServerSettings) -> type[HttpToolsProtocol]:
    """Make the class of HTTP connections for these settings."""
    return type("LimitedHTTP", (_HTTPConnection,), {"settings": settings})


class _HTTPConnection(HttpToolsProtocol):
    settings: ServerSettings

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._in_headers = True
        self._header_bytes = 0  # of the request that is being read
        self._idle_bytes = 0  # since the last that belonged to a body
        self._unread_bytes = 0  # after the answer
        self._refusal: tuple[int, str] | None = None
        self._header_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._writing = StallTimer(
            self.loop,
            transport,
            self._stalled,
            seconds=self.settings.stalled_seconds,
            least=self.settings.reading_bytes_per_second,
        )
        if len(self.connections) > self.settings.max_connections:
            self._refuse(503, "There are too many connections.")
        else:
            self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._unread_timer is not None:
            self._throw_away(data)
            if self._refusal is not None:
                return
        if not self._in_headers:
            self._idle_bytes += len(data)
            if self._idle_bytes > self.settings.max_header_bytes + len(data):
                self._refuse(400, "The body has too much that is no content.")
                return
            super().data_received(data)
            return
        self._expect_headers()
        room = self.settings.max_header_bytes - self._header_bytes
        fits, rest = data[:room], data[room:]
        self._header_bytes += len(fits)
        super().data_received(fits)
        if not rest or self._refusal is not None or self.transport.get_protocol() is not self:
            return
        if self._header_bytes == self.settings.max_header_bytes:
            self._refuse(431, f"The headers have over {self.settings.max_header_bytes} bytes.")
        else:
            self.data_received(rest)  # these headers ended, so the rest is a body or another request

    def on_message_begin(self) -> None:
        self._expect_headers()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if len(self.headers) > self.settings.max_headers:
            self._refusal = (431, f"There are over {self.settings.max_headers} headers.")
            raise httptools.HttpParserError  # parsing ends, and `send_400_response` is called
        self._in_headers = False
        self._header_bytes = self._idle_bytes = 0
        self._cancel_header_timer()
        super().on_headers_complete()
        if self.cycle is not None and not self.cycle.keep_alive:
            self.cycle.transport = cast(asyncio.Transport, _ClosesLater(self))

    def on_body(self, body: bytes) -> None:
        self._idle_bytes = 0
        self._writing.received(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_headers = True
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and not self._in_headers:
            self.close_later()

    def send_400_response(self, msg: str) -> None:
        self._refuse(*(self._refusal or (400, msg)))

    def handle_websocket_upgrade(self) -> None:
        self._cancel_timers()
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writing.start()

    def resume_writing(self) -> None:
        self._writing.stop()
        super().resume_writing()

    def close_later(self) -> None:
        """Close the connection, once the client had a moment to read what it was answered."""
        if self._unread_timer is None and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._unread_bytes = 0
            self._unread_timer = self.loop.call_later(self.settings.unread_seconds, self.transport.close)

    def _stalled(self) -> None:
        logger.warning(
            "cut off a client that read next to nothing for %g s of its answer to %s %s",
            self.settings.stalled_seconds,
            self.scope["method"],
            shorten(self.scope["path"]),
        )
        last_words = self.scope["state"].get(LAST_WORDS)
        if last_words is None or self.cycle.response_complete:
            self.transport.abort()
            return
        words = last_words()
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        if words:
            self.transport.write(b"%x\r\n%b\r\n" % (len(words), words))
        self.transport.write(b"0\r\n\r\n")
        self.loop.call_later(self.settings.stalled_seconds, self.transport.abort)

    @property
    def has_unread_body(self) -> bool:
        """Whether the client is still sending the request."""
        return not self._in_headers

    def _throw_away(self, data: bytes) -> None:
        self._unread_bytes += len(data)
        if self._unread_bytes > self.settings.unread_bytes:
            self.flow.pause_reading()

    def _expect_headers(self) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(self.settings.header_seconds, self._headers_late)

    def _headers_late(self) -> None:
        self._header_timer = None
        if self._header_bytes:
            self._refuse(408, "The headers came too slowly.")
        else:
            self.transport.close()

    def _refuse(self, status: int, message: str) -> None:
        """Answer without the application, and read nothing more."""
        self._refusal = (status, message)
        self._cancel_header_timer()
        if self.cycle is not None and not self.cycle.response_complete:
            if self.cycle.response_started:
                self.transport.close()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        code = {400: "BAD_REQUEST", 408: "REQUEST_TIMEOUT", 431: "TOO_LARGE", 503: "UNAVAILABLE"}[status]
        body = orjson.dumps({"errors": [{"message": message, "extensions": {"code": code}}]})
        head = (
            b"content-type: application/json; charset=utf-8\r\nconnection: close\r\n%bcontent-length: %d\r\n\r\n"
        ) % (b"retry-after: 5\r\n" if status == 503 else b"", len(body))
        self.transport.write(STATUS_LINE[status] + head + body)
        self.close_later()

    def _cancel_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _cancel_timers(self) -> None:
        self._cancel_header_timer()
        self._writing.stop()
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None


class _ClosesLater:
    """A transport for the answer to a request that asks for the connection to be closed."""

    def __init__(self, connection: _HTTPConnection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection.transport, name)

    def close(self) -> None:
        if self._connection.has_unread_body:
            self._connection.close_later()
        else:
            self._connection.transport.close()
