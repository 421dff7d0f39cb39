"""HTTP connections with limits that uvicorn has no setting for.

| limit | setting of uvicorn 0.54 |
|---|---|
| time until the headers are complete | none; `timeout_keep_alive` limits only the idle time between requests |
| number and bytes of the headers | none; `h11_max_incomplete_event_size` does not apply to httptools |
| bytes of trailers and chunk extensions | none |
| open connections, in total and per address | `limit_concurrency` refuses requests, but leaves connections open |
| time in which a client does not read its response | none |
| bytes of a body that the application does not read | none |

The server can respond before it has read the whole body, for example with 401 or 413. If it then closed the connection
at once, a client that is still sending would get a connection reset instead of the response. The server therefore
receives and discards the rest of the body for a short time before it closes the connection.

`HttpToolsProtocol` is a private interface of uvicorn. requirements.lock pins the exact version; see
docs/architecture.md.
"""

import asyncio
import logging
from typing import Any, cast

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from graphql_api.errors import HTTP_STATUS, RequestTimeout, describe, shorten
from graphql_api.graphql_server.request_headers import headers_by_name, violation
from graphql_api.graphql_server.server.open_connections import OpenConnection, OpenConnections
from graphql_api.graphql_server.server.sequential_requests import SequentialRequests
from graphql_api.graphql_server.server.stall_timer import StallTimer
from graphql_api.graphql_server.settings import ServerSettings
from graphql_api.graphql_server.slow_reader_notice import notice_of
from storage.documents.errors import BadRequest, DropzoneError, RetryLater, TooLarge, Unavailable

_MAX_REFUSED_CONNECTIONS = 200
"""Refused connections that stay open for a moment, so that their clients can read the response."""

logger = logging.getLogger("graphql_api")


def http_connection_class(settings: ServerSettings, open_connections: OpenConnections) -> type["HTTPConnection"]:
    """Return a class of HTTP connections with these limits. uvicorn creates one instance per connection."""
    members = {
        "settings": settings,
        "open_connections": open_connections,
        "max_header_bytes": settings.max_header_bytes,
    }
    return type("ConfiguredHTTPConnection", (HTTPConnection,), members)


class HTTPConnection(SequentialRequests):
    """One HTTP connection. `place` is its place among the open connections; a WebSocket takes it over."""

    settings: ServerSettings
    place: OpenConnection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._bytes_without_content = 0  # since the last bytes of body content
        self._discarded_bytes = 0  # after the response
        self._refusal: tuple[int, DropzoneError] | None = None
        self._has_begun = False  # whether a part of the headers of a request is parsed
        self._is_whole = False  # whether the data that is being parsed contains the end of one request
        self._header_timer: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        self._stall_timer = StallTimer(
            self.loop,
            self.transport,
            self._end_stalled_response,
            seconds=self.settings.stall_seconds,
            min_bytes_per_second=self.settings.min_read_bytes_per_second,
            received_bytes=lambda: self.received_body_bytes,
        )
        try:
            self.place = self.open_connections.admit(self.client[0] if self.client else "", self._close_idle)
        except RetryLater as error:
            self._refuse(HTTP_STATUS[error.code], error)
            if len(self.connections) > self.open_connections.count + _MAX_REFUSED_CONNECTIONS:
                self.transport.close()
        else:
            self._start_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timers()
        self._stall_timer.close()
        if self.place is not None:
            self.place.end()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn keeps a connection that was reset until its timer has expired
        self.cycle = None  # type: ignore[assignment]  # it refers to this connection

    def shutdown(self) -> None:
        """End this connection after the response to the current request. Refuse a request that is incomplete."""
        if (self.header_bytes or self._has_begun) and not self.is_responding:
            self._refuse(503, _stopping())
        else:
            super().shutdown()

    def end_unfinished(self) -> None:
        """Refuse the request that is still in progress, because the server stops."""
        if self.is_responding:
            self._refuse(503, _stopping())

    def data_received(self, data: bytes) -> None:
        if self._close_timer is not None:
            self._count_discarded(data)
            if self._refusal is not None:
                return
        super().data_received(data)

    def parse_whole(self, data: bytes) -> None:
        """Parse data that contains the end of the headers of only one request. They need no timer."""
        self._is_whole = True
        HttpToolsProtocol.data_received(self, data)
        self._is_whole = False
        if (self.cycle is None or self.cycle.response_complete) and not self.is_upgraded and self._refusal is None:
            self.header_bytes += len(data)  # blank lines, or a part of the headers
            self._start_header_timer()

    def parse_part(self, part: bytes) -> bool:
        """Parse data that belongs to at most one request. Return whether to parse more data."""
        if self.is_in_headers:
            self._start_header_timer()
            self.header_bytes += len(part)
        else:
            self._bytes_without_content += len(part)
            if self._bytes_without_content > self.settings.max_header_bytes + len(part):
                self._refuse(400, BadRequest("the body has too many bytes in chunk extensions or trailers"))
                return False
        is_open = super().parse_part(part)
        if self.header_bytes >= self.settings.max_header_bytes and self._refusal is None:
            self._refuse(431, TooLarge(f"the headers may have up to {self.settings.max_header_bytes:,} bytes"))
        return is_open and self._refusal is None

    def on_message_begin(self) -> None:
        self._has_begun = True
        if not self._is_whole:
            self._start_header_timer()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if len(self.headers) > self.settings.max_headers:
            self._refusal = (431, TooLarge(f"a request may have up to {self.settings.max_headers} headers"))
            raise httptools.HttpParserError  # stops parsing; uvicorn then calls `send_400_response`
        headers = headers_by_name(cast(dict[str, Any], self.scope))
        if wrong := violation(headers, self.parser.get_http_version):
            self._refusal = (400, BadRequest(wrong))
            raise httptools.HttpParserError
        is_chunked = b"transfer-encoding" in headers
        self.content_end = None if is_chunked else self.received_body_bytes + int(headers.get(b"content-length", 0))
        self.is_in_headers = self._has_begun = False
        self.header_bytes = self._bytes_without_content = 0
        self._cancel_header_timer()
        super().on_headers_complete()
        if self.cycle is None:
            return
        if self.place is not None:
            self.place.is_busy = not self.cycle.response_complete
        if not self.cycle.keep_alive:
            self.cycle.transport = cast(asyncio.Transport, _DelayedCloseTransport(self))

    def on_body(self, body: bytes) -> None:
        self._bytes_without_content = 0
        self.received_body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.is_in_headers = True
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.place is not None:
            self.place.set_idle()
        if not self.is_in_headers:
            self.close_later()
            return
        if self._has_begun:
            self._start_header_timer()
        self.parse_held()

    def send_400_response(self, msg: str) -> None:
        self._refuse(*(self._refusal or (400, BadRequest(msg))))

    def handle_websocket_upgrade(self) -> None:
        self._cancel_timers()
        super().handle_websocket_upgrade()
        self._stall_timer.close()
        self.parser = self.cycle = None  # type: ignore[assignment]  # they refer to this connection

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall_timer.start()
        if self.place is not None:
            self.place.set_idle()

    def resume_writing(self) -> None:
        self._stall_timer.stop()
        super().resume_writing()
        if self.place is not None:
            self.place.is_busy = self.is_responding

    def _close_idle(self) -> None:
        """Close this connection, because another one needs its place."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # the client does not read
        else:
            self.transport.close()

    def close_later(self) -> None:
        """Close the connection after a delay, so that the client can read the response."""
        if self._close_timer is None and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._discarded_bytes = 0
            self._close_timer = self.loop.call_later(self.settings.unread_body_seconds, self.transport.close)

    def _end_stalled_response(self) -> None:
        logger.warning(
            "ended the response to %s %s: the client read almost no data for %g s",
            self.cycle.scope["method"],
            shorten(self.cycle.scope["path"]),
            self.settings.stall_seconds,
        )
        notice = notice_of(self.cycle.scope)
        if notice is None or self.cycle.response_complete:
            self.transport.abort()
            return
        self._disconnect_application()
        for message in notice.messages():
            self.transport.write(b"%x\r\n%b\r\n" % (len(message), message))
        self.transport.write(b"0\r\n\r\n")
        self.loop.call_later(self.settings.stall_seconds, self.transport.abort)

    def _disconnect_application(self) -> None:
        """Send `http.disconnect` to the application. uvicorn then ignores all that the application sends."""
        self.cycle.disconnected = True
        self.cycle.message_event.set()

    @property
    def has_unread_body(self) -> bool:
        """Whether the client is still sending the request."""
        return not self.is_in_headers

    def _count_discarded(self, data: bytes) -> None:
        self._discarded_bytes += len(data)
        if self._discarded_bytes > self.settings.max_unread_body_bytes:
            self.flow.pause_reading()

    def _start_header_timer(self) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(self.settings.header_timeout_seconds, self._end_late_headers)

    def _end_late_headers(self) -> None:
        self._header_timer = None
        if self.header_bytes or self._has_begun:
            seconds = self.settings.header_timeout_seconds
            self._refuse(408, RequestTimeout(f"the headers were not complete after {seconds:g} s"))
        else:
            self.transport.close()

    def _refuse(self, status: int, error: DropzoneError) -> None:
        """Respond without calling the application, and read no further request on this connection."""
        self._refusal = (status, error)
        self._cancel_header_timer()
        self.discard()
        if self.is_responding:
            if self.cycle.response_started:
                self.transport.close()
                return
            self._disconnect_application()
        body = orjson.dumps({"errors": [describe(error)]})
        head = (
            b"content-type: application/json; charset=utf-8\r\nconnection: close\r\n%bcontent-length: %d\r\n\r\n"
        ) % (b"retry-after: %d\r\n" % error.retry_after if isinstance(error, RetryLater) else b"", len(body))
        self.transport.write(STATUS_LINE[status] + head + body)
        self.close_later()

    def _cancel_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _cancel_timers(self) -> None:
        self._cancel_header_timer()
        self._stall_timer.stop()
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None


def _stopping() -> Unavailable:
    return Unavailable("the server is stopping; send this request again")


class _DelayedCloseTransport:
    """The transport for a request with `Connection: close`. It receives the rest of the body before it closes."""

    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection.transport, name)

    def close(self) -> None:
        if self._connection.has_unread_body:
            self._connection.close_later()
        else:
            self._connection.transport.close()
