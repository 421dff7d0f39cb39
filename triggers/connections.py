"""Connections to the function's port, with limits that uvicorn has no setting for.

Any program on this machine can open connections. Without limits, connections without a request could use all file
descriptors of the process, and no event would arrive. A connection without complete headers is therefore closed after a
while, and earlier if too many connections are open. If a request is not authentic, its response closes the connection
(see `app.py`).

Clients of the function wait for each response. If a connection sends another request before the response, the response
closes the connection, and the other request is not parsed. uvicorn would parse all requests that arrive together, and
use a hundred times the memory of their data.

`HttpToolsProtocol` is a private interface of uvicorn. requirements.lock pins the exact version; see
docs/architecture.md.
"""

import asyncio
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_CONNECTIONS = 1_000
"""Twice as many as event delivery uses (`concurrency` in infra/embedded/stack.toml)."""

HEADER_SECONDS = 10.0
MAX_HEADER_BYTES = 2**16
"""Data that a connection may send without the complete headers of its first request. One read can have 256 KiB more."""

MAX_HEADERS = 100
"""The headers of a request. A header can have three bytes, and takes a hundred times as much memory."""


def connection_class(
    max_connections: int = MAX_CONNECTIONS, header_seconds: float = HEADER_SECONDS
) -> type[HttpToolsProtocol]:
    """Return a class of HTTP connections with these limits. uvicorn creates one instance per connection."""
    without_request: dict[EventConnection, None] = {}  # the oldest connection is first
    members = {"without_request": without_request, "max_connections": max_connections, "header_seconds": header_seconds}
    return type("ConfiguredEventConnection", (EventConnection,), members)


class EventConnection(HttpToolsProtocol):
    """One connection.

    `without_request` contains the connections that have not sent the complete headers of a first request.
    """

    without_request: "dict[EventConnection, None]"
    max_connections: int
    header_seconds: float
    _header_timer: asyncio.TimerHandle
    _header_bytes = 0
    _is_discarding = False
    """Whether data is not parsed, because it belongs to a request that arrived too early."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(Any, transport))
        self.without_request[self] = None
        self._header_timer = self.loop.call_later(self.header_seconds, self._abort)
        if len(self.connections) > self.max_connections:
            next(iter(self.without_request))._abort()

    def data_received(self, data: bytes) -> None:
        if self._is_discarding:
            return
        super().data_received(data)
        if self in self.without_request:
            self._header_bytes += len(data)
            if self._header_bytes > MAX_HEADER_BYTES:
                self._abort()

    def _get_upgrade(self) -> bytes | None:
        return None  # uvicorn would split the header `Connection`, several times

    def on_message_begin(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._is_discarding = True
            self.cycle.keep_alive = False
            raise httptools.HttpParserError  # stops parsing
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= MAX_HEADERS:
            raise httptools.HttpParserError  # stops parsing; the response is 400
        super().on_header(name, value)

    def send_400_response(self, msg: str) -> None:
        if not self._is_discarding:
            super().send_400_response(msg)

    def on_headers_complete(self) -> None:
        self._stop_waiting_for_headers()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting_for_headers()
        super().connection_lost(exc)

    def _abort(self) -> None:
        self._stop_waiting_for_headers()
        self.connections.discard(self)
        self.transport.abort()

    def _stop_waiting_for_headers(self) -> None:
        self.without_request.pop(self, None)
        self._header_timer.cancel()
