"""HTTP connections with limits that uvicorn has no setting for.

| limit | setting of uvicorn 0.54 |
|---|---|
| time until the headers are complete | none; `timeout_keep_alive` limits only the idle time between requests |
| number and bytes of the headers | none; `h11_max_incomplete_event_size` does not apply to httptools |
| bytes of trailers and chunk extensions | none |
| open connections, in total and per address | `limit_concurrency` refuses requests, but leaves connections open |
| time in which a client does not read its response | none |
| bytes of a body that the application does not read | none |

`HttpToolsProtocol` is a private interface of uvicorn. requirements.lock pins the exact version; see
docs/architecture.md.
"""

import asyncio
from typing import Any, cast

import httptools

from graphql_api.budgets.parsing_turns import MAX_LIGHT_SECONDS
from graphql_api.errors import HTTP_STATUS
from graphql_api.graphql_server.http_request import headers_by_name
from graphql_api.graphql_server.server.closing_connection import ClosingConnection, DelayedCloseTransport
from graphql_api.graphql_server.server.header_rules import HTTP2_TOKEN, offers_websocket, violation, without_http2
from graphql_api.graphql_server.server.open_connections import OpenConnection, OpenConnections
from graphql_api.graphql_server.server.sequential_requests import END_OF_HEADERS, END_OF_LINE
from graphql_api.graphql_server.server.stall_timer import StallTimer
from graphql_api.graphql_server.settings import ServerSettings
from graphql_api.graphql_server.tcp_state import TRANSPORT
from storage.documents.errors import BadRequest, RetryLater, TooLarge, Unavailable

_MAX_WHOLE_BYTES = 4 * 1024
_MAX_REFUSED_CONNECTIONS = 200
"""Refused connections that stay open for a moment, so that their clients can read the response."""


def http_connection_class(settings: ServerSettings, open_connections: OpenConnections) -> type["HTTPConnection"]:
    """Return a class of HTTP connections with these limits. uvicorn creates one instance per connection."""
    members = {
        "settings": settings,
        "open_connections": open_connections,
        "max_header_bytes": settings.max_header_bytes,
    }
    return type("ConfiguredHTTPConnection", (HTTPConnection,), members)


class HTTPConnection(ClosingConnection):
    """One HTTP connection. `place` is its place among the open connections. A WebSocket keeps this place."""

    place: OpenConnection | None = None

    _bytes_without_content = 0
    """Bytes since the last bytes of body content."""

    _upgrade: bytes | None = None
    """`websocket`, or None if the current request is not the handshake of a WebSocket."""

    _is_whole = False
    """Whether the data that is being parsed contains the end of one request."""

    _stall_timer: StallTimer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        try:
            self.place = self.open_connections.admit(self.client[0] if self.client else "", self._close_idle)
        except RetryLater as error:
            self.refuse(HTTP_STATUS[error.code], error)
            if len(self.connections) > self.open_connections.count + _MAX_REFUSED_CONNECTIONS:
                self.transport.close()
        else:
            self._start_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timers()
        if self.place is not None:
            self.place.end()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn keeps a connection that was reset until its timer has expired
        self.cycle = None  # type: ignore[assignment]  # it refers to this connection

    def data_received(self, data: bytes) -> None:
        if self.close_timer is not None:
            self.count_discarded(data)
            if self.refusal is not None:
                return
        cycle = self.cycle
        if (
            not self.unparsed
            and self.is_in_headers
            and not self.header_bytes
            and (cycle is None or cycle.response_complete)
            and len(data) <= _MAX_WHOLE_BYTES
            and (end := data.find(END_OF_HEADERS)) >= 0
            and data.find(END_OF_LINE, end + len(END_OF_HEADERS)) < 0
            and data.find(HTTP2_TOKEN, 0, end) < 0
        ):
            self._parse_whole(data)
            if self.is_upgraded:
                self.pass_on(data[end + len(END_OF_HEADERS) :])
        else:
            self.receive(data)

    def _parse_whole(self, data: bytes) -> None:
        """Parse data that contains the end of the headers of exactly one request. These headers need no timer."""
        self._is_whole = True
        super().data_received(data)
        self._is_whole = False
        if (self.cycle is None or self.cycle.response_complete) and not self.is_upgraded and self.refusal is None:
            self.header_bytes += len(data)  # blank lines, or a part of the headers
            self._start_header_timer()

    def parse_part(self, part: bytes) -> bool:
        """Parse data that belongs to at most one request. Return whether to parse more data."""
        if self.is_in_headers:
            self._start_header_timer()
            self.header_bytes += len(part)
            part = without_http2(part)
        else:
            self._bytes_without_content += len(part)
            if self._bytes_without_content > self.settings.max_header_bytes + len(part):
                self.refuse(400, BadRequest("the body has too many bytes in chunk extensions or trailers"))
                return False
        is_open = super().parse_part(part)
        if self.header_bytes >= self.settings.max_header_bytes and self.refusal is None:
            self.refuse(431, TooLarge(f"the headers may have up to {self.settings.max_header_bytes:,} bytes"))
        return is_open and self.refusal is None

    def on_message_begin(self) -> None:
        self.has_begun = True
        if not self._is_whole:
            self._start_header_timer()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if len(self.headers) > self.settings.max_headers:
            self.refusal = (431, TooLarge(f"a request may have up to {self.settings.max_headers} headers"))
            raise httptools.HttpParserError  # stops parsing; uvicorn then calls `send_400_response`
        headers = headers_by_name(cast(dict[str, Any], self.scope))
        if wrong := violation(headers, self.parser.get_http_version):
            self.refusal = (400, BadRequest(wrong))
            raise httptools.HttpParserError
        is_chunked = b"transfer-encoding" in headers
        self.content_end = None if is_chunked else self.received_body_bytes + int(headers.get(b"content-length", 0))
        self.is_in_headers = self.has_begun = False
        self.header_bytes = self._bytes_without_content = 0
        self.parsing_seconds = MAX_LIGHT_SECONDS if is_chunked else 0.0  # its chunks may have one byte each
        self.body_flow.is_wanted = False
        self._upgrade = b"websocket" if offers_websocket(headers) else None
        self._cancel_header_timer()
        cast(dict[str, Any], self.scope)["state"][TRANSPORT] = self.transport
        super().on_headers_complete()
        if self.cycle is None:
            return
        if self.place is not None:
            self.place.is_busy = not self.cycle.response_complete
        if not self.cycle.keep_alive:
            self.cycle.transport = cast(asyncio.Transport, DelayedCloseTransport(self))

    def on_body(self, body: bytes) -> None:
        self._bytes_without_content = 0
        self.received_body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.is_in_headers = True
        if self.close_timer is not None:
            self.close_timer.cancel()
            self.close_timer = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.place is not None:
            self.place.set_idle()
        if not self.is_in_headers:
            self.close_later()
            return
        if self.has_begun:
            self._start_header_timer()
        if self.unparsed:
            self.parse_held()

    def _get_upgrade(self) -> bytes | None:
        return self._upgrade  # uvicorn would split the header `Connection`, several times

    def refuse_unparsed(self) -> None:
        if self.is_in_headers:
            super().refuse_unparsed()
        else:
            self.refuse(503, Unavailable("too many bodies wait in the memory of the server; send this request again"))

    def send_400_response(self, msg: str) -> None:
        self.refuse(*(self.refusal or (400, BadRequest(msg))))

    def handle_websocket_upgrade(self) -> None:
        self._cancel_timers()
        super().handle_websocket_upgrade()
        self.parser = self.cycle = None  # type: ignore[assignment]  # they refer to this connection

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stall_timer is None:
            self._stall_timer = StallTimer(
                self.loop,
                self.transport,
                self.end_stalled_response,
                seconds=self.settings.stall_seconds,
                min_bytes_per_second=self.settings.min_read_bytes_per_second,
                received_bytes=lambda: self.received_body_bytes,
            )
        self._stall_timer.start()
        if self.place is not None:
            self.place.set_idle()

    def resume_writing(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.stop()
        super().resume_writing()
        if self.place is not None:
            self.place.is_busy = self.is_responding

    def _close_idle(self) -> None:
        """Close this connection, because another connection needs its place."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # the client does not read
        else:
            self.transport.close()

    def _start_header_timer(self) -> None:
        if self.header_timer is None:
            self.header_timer = self.loop.call_later(self.settings.header_timeout_seconds, self.end_late_headers)

    def _cancel_header_timer(self) -> None:
        if self.header_timer is not None:
            self.header_timer.cancel()
            self.header_timer = None

    def _cancel_timers(self) -> None:
        self._cancel_header_timer()
        if self._stall_timer is not None:
            self._stall_timer.close()
            self._stall_timer = None
        if self.close_timer is not None:
            self.close_timer.cancel()
            self.close_timer = None
