"""Connections to the function's port, with limits that uvicorn has no setting for.

Any program on this machine can open connections. Without limits, connections without a request could use all file
descriptors of the process, and no event would arrive. A connection without complete headers is therefore closed after a
while, and earlier if too many connections are open. If a request is not authentic, its response closes the connection
(see `app.py`).

`HttpToolsProtocol` is a private interface of uvicorn. requirements.lock pins the exact version; see
docs/architecture.md.
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_CONNECTIONS = 1_000
"""Twice as many as event delivery uses (`concurrency` in infra/embedded/stack.toml)."""

HEADER_SECONDS = 10.0
MAX_HEADER_BYTES = 2**20
"""Data that a connection may send until the headers of its first request are complete."""


def connection_class(
    max_connections: int = MAX_CONNECTIONS, header_seconds: float = HEADER_SECONDS
) -> type[HttpToolsProtocol]:
    """Return a class of HTTP connections with these limits. uvicorn creates one instance per connection."""
    silent: dict[EventConnection, None] = {}  # the oldest connection is first
    members = {"silent": silent, "max_connections": max_connections, "header_seconds": header_seconds}
    return type("ConfiguredEventConnection", (EventConnection,), members)


class EventConnection(HttpToolsProtocol):
    """One connection. `silent` contains the connections that have not sent the complete headers of a first request."""

    silent: "dict[EventConnection, None]"
    max_connections: int
    header_seconds: float
    _header_timer: asyncio.TimerHandle
    _header_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(Any, transport))
        self.silent[self] = None
        self._header_timer = self.loop.call_later(self.header_seconds, self._abort)
        if len(self.connections) > self.max_connections:
            next(iter(self.silent))._abort()

    def data_received(self, data: bytes) -> None:
        if self in self.silent:
            self._header_bytes += len(data)
            if self._header_bytes > MAX_HEADER_BYTES:
                self._abort()
                return
        super().data_received(data)

    def _get_upgrade(self) -> bytes | None:
        return None  # uvicorn would split the header `Connection`, several times

    def on_headers_complete(self) -> None:
        self._end_silence()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_silence()
        super().connection_lost(exc)

    def _abort(self) -> None:
        self._end_silence()
        self.connections.discard(self)
        self.transport.abort()

    def _end_silence(self) -> None:
        self.silent.pop(self, None)
        self._header_timer.cancel()
