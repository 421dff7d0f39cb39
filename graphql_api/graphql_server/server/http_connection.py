"""HTTP connections with limits that uvicorn has no setting for.

| limit | setting of uvicorn 0.54 |
|---|---|
| time until the headers are complete | none; `timeout_keep_alive` limits only the idle time between requests |
| number and bytes of the headers | none; `h11_max_incomplete_event_size` does not apply to httptools |
| bytes of trailers and chunk extensions | none |
| open connections | `limit_concurrency` refuses requests, but leaves their connections open |
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

from graphql_api.errors import shorten
from graphql_api.graphql_server.server.stall_timer import StallTimer
from graphql_api.graphql_server.settings import ServerSettings
from graphql_api.graphql_server.slow_reader_notice import notice_of

_RETRY_AFTER_SECONDS = 5

logger = logging.getLogger("graphql_api")


def http_connection_class(settings: ServerSettings) -> type[HttpToolsProtocol]:
    """Return a class of HTTP connections with these limits. uvicorn creates one instance per connection."""
    return type("HTTPConnection", (_HTTPConnection,), {"settings": settings})


class _HTTPConnection(HttpToolsProtocol):
    settings: ServerSettings

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._is_in_headers = True
        self._header_bytes = 0  # of the current request
        self._bytes_without_content = 0  # since the last bytes of body content
        self._received_body_bytes = 0  # of all requests
        self._discarded_bytes = 0  # after the response
        self._refusal: tuple[int, str] | None = None
        self._header_timer: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        self._stall_timer = StallTimer(
            self.loop,
            transport,
            self._end_stalled_response,
            seconds=self.settings.stall_seconds,
            min_bytes_per_second=self.settings.min_read_bytes_per_second,
            received_bytes=lambda: self._received_body_bytes,
        )
        if len(self.connections) > self.settings.max_connections:
            self._refuse(503, "too many connections are open; connect again later")
        else:
            self._start_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._close_timer is not None:
            self._count_discarded(data)
            if self._refusal is not None:
                return
        if not self._is_in_headers:
            self._bytes_without_content += len(data)
            if self._bytes_without_content > self.settings.max_header_bytes + len(data):
                self._refuse(400, "the body has too many bytes in chunk extensions or trailers")
                return
            super().data_received(data)
            return
        self._start_header_timer()
        room = self.settings.max_header_bytes - self._header_bytes
        fits, rest = data[:room], data[room:]
        self._header_bytes += len(fits)
        super().data_received(fits)
        if not rest or self._refusal is not None or self.transport.get_protocol() is not self:
            return
        if self._header_bytes == self.settings.max_header_bytes:
            self._refuse(431, f"the headers may have up to {self.settings.max_header_bytes:,} bytes")
        else:
            self.data_received(rest)  # the headers are complete; the rest is a body or another request

    def on_message_begin(self) -> None:
        self._start_header_timer()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if len(self.headers) > self.settings.max_headers:
            self._refusal = (431, f"a request may have up to {self.settings.max_headers} headers")
            raise httptools.HttpParserError  # stops parsing; uvicorn then calls `send_400_response`
        self._is_in_headers = False
        self._header_bytes = self._bytes_without_content = 0
        self._cancel_header_timer()
        super().on_headers_complete()
        if self.cycle is not None and not self.cycle.keep_alive:
            self.cycle.transport = cast(asyncio.Transport, _DelayedCloseTransport(self))

    def on_body(self, body: bytes) -> None:
        self._bytes_without_content = 0
        self._received_body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_in_headers = True
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and not self._is_in_headers:
            self.close_later()

    def send_400_response(self, msg: str) -> None:
        self._refuse(*(self._refusal or (400, msg)))

    def handle_websocket_upgrade(self) -> None:
        self._cancel_timers()
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall_timer.start()

    def resume_writing(self) -> None:
        self._stall_timer.stop()
        super().resume_writing()

    def close_later(self) -> None:
        """Close the connection after a delay, so that the client can read the response."""
        if self._close_timer is None and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._discarded_bytes = 0
            self._close_timer = self.loop.call_later(self.settings.unread_body_seconds, self.transport.close)

    def _end_stalled_response(self) -> None:
        logger.warning(
            "ended the response to %s %s: the client read almost no data for %g s",
            self.scope["method"],
            shorten(self.scope["path"]),
            self.settings.stall_seconds,
        )
        notice = notice_of(self.scope)
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
        return not self._is_in_headers

    def _count_discarded(self, data: bytes) -> None:
        self._discarded_bytes += len(data)
        if self._discarded_bytes > self.settings.max_unread_body_bytes:
            self.flow.pause_reading()

    def _start_header_timer(self) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(self.settings.header_timeout_seconds, self._end_late_headers)

    def _end_late_headers(self) -> None:
        self._header_timer = None
        if self._header_bytes:
            self._refuse(408, f"the headers were not complete after {self.settings.header_timeout_seconds:g} s")
        else:
            self.transport.close()

    def _refuse(self, status: int, message: str) -> None:
        """Respond without calling the application, and read no further request on this connection."""
        self._refusal = (status, message)
        self._cancel_header_timer()
        if self.cycle is not None and not self.cycle.response_complete:
            if self.cycle.response_started:
                self.transport.close()
                return
            self._disconnect_application()
        code = {400: "BAD_REQUEST", 408: "REQUEST_TIMEOUT", 431: "TOO_LARGE", 503: "UNAVAILABLE"}[status]
        body = orjson.dumps({"errors": [{"message": message, "extensions": {"code": code}}]})
        head = (
            b"content-type: application/json; charset=utf-8\r\nconnection: close\r\n%bcontent-length: %d\r\n\r\n"
        ) % (b"retry-after: %d\r\n" % _RETRY_AFTER_SECONDS if status == 503 else b"", len(body))
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


class _DelayedCloseTransport:
    """The transport for a request with `Connection: close`. It receives the rest of the body before it closes."""

    def __init__(self, connection: _HTTPConnection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection.transport, name)

    def close(self) -> None:
        if self._connection.has_unread_body:
            self._connection.close_later()
        else:
            self._connection.transport.close()
