"""HTTP connections with limits that uvicorn has no setting for.

| limit | setting of uvicorn 0.54 |
|---|---|
| time until the headers are complete | none; `timeout_keep_alive` limits only the idle time between requests |
| number and bytes of the headers | none; `h11_max_incomplete_event_size` does not apply to httptools |
| bytes of trailers and chunk extensions | none |
| open connections, in total and per address | `limit_concurrency` refuses requests, but leaves connections open |
| time in which a client does not read its response | none |
| bytes of a body that the application does not read | none |

`HttpToolsProtocol` is private in uvicorn, so requirements.lock pins the exact version (see docs/architecture.md).
"""

import asyncio
from functools import partial
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from graphql_api.budgets.allowance import allowance_of
from graphql_api.errors import HTTP_STATUS, RequestTimeout
from graphql_api.graphql_server.requests import request_headers
from graphql_api.graphql_server.server import early_end
from graphql_api.graphql_server.server.open_connections import OpenConnection, OpenConnections
from graphql_api.graphql_server.server.stall_timer import StallTimer
from graphql_api.graphql_server.settings import ServerSettings
from graphql_api.graphql_server.tcp_state import TRANSPORT
from storage.documents.errors import BadRequest, DropzoneError, RetryLater, TooLarge, Unavailable

_STOPPING = Unavailable("the server is stopping; send this request again")
_MAX_REFUSED_CONNECTIONS = 200
"""Refused connections that stay open for a moment, for their clients to read the response. Others close at once."""


class HTTPConnection(HttpToolsProtocol):
    """One HTTP connection. `slot` is its entry among the open connections. A WebSocket keeps this entry."""

    settings: ServerSettings
    open_connections: OpenConnections
    slot: OpenConnection | None = None
    is_upgraded = False
    is_in_headers = True  # whether the next data belongs to headers, and not to the body of the current request
    _has_begun = False  # whether the headers of a request are parsed in part

    header_bytes = 0  # the bytes of the current request that are parsed, until its headers are complete
    received_body_bytes = 0  # the bytes of all bodies on this connection

    content_end: int | None = 0
    """The value of `received_body_bytes` at the end of the current body, or None if the body is chunked."""

    closing: early_end.LingeringClose | None = None
    """Set after a response whose request is not complete, or was refused."""

    _refusal: tuple[int, DropzoneError] | None = None
    """The status and the error of the refused request. The connection reads no further request."""

    _bytes_without_content = 0  # since the last bytes of body content
    _upgrade: bytes | None = None  # `websocket`, or None if the current request is not the handshake of a WebSocket
    _is_whole = False  # whether the data that is being parsed contains the end of one request
    _parsed = b""  # the data that is being parsed
    _header_timer: asyncio.TimerHandle | None = None
    _stall_timer: StallTimer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        close = partial(early_end.close_when_read, self.loop, self.transport, self.settings)
        self.transport = cast(asyncio.Transport, early_end.CloseTransport(self.transport, close))
        self.transport.set_write_buffer_limits(high=self.settings.max_unsent_bytes)
        abort = self.transport.abort  # with TLS, `close` would wait for the client for up to 30 s
        try:
            self.slot = self.open_connections.admit(self.client[0] if self.client else "", abort)
        except RetryLater as error:
            if len(self.connections) > self.open_connections.count + _MAX_REFUSED_CONNECTIONS:
                self.transport.abort()
            else:
                self.refuse(HTTP_STATUS[error.code], error)
        else:
            self._start_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timers()
        if self.slot is not None:
            self.slot.end()
        if self.is_responding:
            self.open_connections.ending_turns.wait(self.cycle, self.flow)
            self.cycle = self.flow = None  # type: ignore[assignment]  # uvicorn would end the request now
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn keeps a connection that was reset until its timer has expired
        self.cycle = None  # type: ignore[assignment]  # it refers to this connection

    @property
    def is_responding(self) -> bool:
        """Whether the response to a request is not complete."""
        return self.cycle is not None and not self.cycle.response_complete

    def discards(self, data: bytes, closing: early_end.LingeringClose) -> bool:
        """Return whether to discard data that is received after the response. If there is too much, stop reading."""
        if not closing.admit_data(data):
            self.flow.pause_reading()
        return self._refusal is not None

    def parse_whole(self, data: bytes) -> None:
        """Parse data that contains the end of the headers of exactly one request. These headers need no timer."""
        self._feed(data, is_whole=True)
        if (self.cycle is None or self.cycle.response_complete) and not self.is_upgraded and self._refusal is None:
            self.header_bytes += len(data)  # blank lines, or a part of the headers
            self._start_header_timer()

    def parse_part(self, part: bytes) -> bool:
        """Parse data that belongs to at most one request. Return whether to parse more data."""
        if self.is_in_headers:
            self._start_header_timer()
            self.header_bytes += len(part)
            part = request_headers.without_optional_upgrade(part)
        else:
            self._bytes_without_content += len(part)
            if self._bytes_without_content > self.settings.max_header_bytes + len(part):
                self.refuse(400, BadRequest("the body has too many bytes in chunk extensions or trailers"))
                return False
        self._feed(part, is_whole=False)
        if self.header_bytes >= self.settings.max_header_bytes and self._refusal is None:
            self.refuse(431, TooLarge(f"expected headers of at most {self.settings.max_header_bytes:,} bytes"))
        return self._refusal is None and not self.transport.is_closing()

    def _feed(self, data: bytes, *, is_whole: bool) -> None:
        self._parsed, self._is_whole = data, is_whole
        super().data_received(data)
        self._parsed, self._is_whole = b"", False

    def on_message_begin(self) -> None:
        self._has_begun = True
        if not self._is_whole:
            self._start_header_timer()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.is_in_headers:  # not a trailer, which a proxy can pass on without the checks of headers
            super().on_header(name, value.rstrip(b" \t"))  # httptools removes whitespace before the value only

    def on_headers_complete(self) -> None:
        if len(self.headers) > self.settings.max_headers:
            self._refusal = (431, TooLarge(f"expected at most {self.settings.max_headers} headers"))
            raise httptools.HttpParserError  # stops parsing; uvicorn then calls `send_400_response`
        headers = request_headers.headers_by_name(cast(dict[str, Any], self.scope))
        if wrong := request_headers.violation(
            headers, self.parser.get_http_version, has_no_body=self.parser.should_upgrade()
        ):
            self._refusal = (400, BadRequest(wrong))
            raise httptools.HttpParserError
        is_chunked = b"transfer-encoding" in headers
        self.content_end = None if is_chunked else self.received_body_bytes + int(headers.get(b"content-length", 0))
        self.is_in_headers = self._has_begun = False
        self.header_bytes = self._bytes_without_content = 0
        self._upgrade = b"websocket" if request_headers.offers_websocket(headers) else None
        self._cancel_header_timer()
        cast(dict[str, Any], self.scope)["state"][TRANSPORT] = self.transport
        super().on_headers_complete()
        if self.cycle is not None and not self.cycle.keep_alive:
            closing = early_end.CloseTransport(self.transport, self._close_after_body)
            self.cycle.transport = cast(asyncio.Transport, closing)

    def on_body(self, body: bytes) -> None:
        self._bytes_without_content = 0
        self.received_body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.is_in_headers = True
        if self.closing is not None and self._refusal is None:
            self._end_close(self.closing)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        request = cast(dict[str, Any], self.cycle.scope)
        if self.slot is not None:
            self.slot.set_idle()
            if (allowance := allowance_of(request)) is not None:
                self.slot.set_submitter(allowance.submitter)
        if self.cycle.response_complete:  # if not, the parser got the next request too early, and it has just started
            # An idle connection would otherwise keep the headers. They take up to 60 KiB of memory.
            self.cycle.scope = cast(Any, {name: request[name] for name in ("method", "path")})
            if not self._has_begun:
                self.scope, self.headers = self.cycle.scope, []
        if not self.is_in_headers:
            self._close_later()
        elif self._has_begun:
            self._start_header_timer()

    def _get_upgrade(self) -> bytes | None:
        return self._upgrade  # uvicorn would split the header `Connection`, several times

    def send_400_response(self, msg: str) -> None:
        self.refuse(*(self._refusal or early_end.malformed(msg, self._parsed)))

    def handle_websocket_upgrade(self) -> None:
        self._cancel_timers()
        self.is_upgraded = True
        super().handle_websocket_upgrade()
        self.parser = self.cycle = None  # type: ignore[assignment]  # they refer to this connection

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stall_timer is None:
            self._stall_timer = StallTimer(
                self.loop,
                self.transport,
                lambda: early_end.end_stalled_response(self.cycle, self.transport, self.settings.stall_seconds),
                seconds=self.settings.stall_seconds,
                min_bytes_per_second=self.settings.min_read_bytes_per_second,
                received_bytes=lambda: self.received_body_bytes,
            )
        self._stall_timer.start()
        if self.slot is not None:
            self.slot.set_idle()

    def resume_writing(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.stop()
        super().resume_writing()
        if self.slot is not None and self.is_responding and self.is_in_headers:
            self.slot.set_busy()

    def shutdown(self) -> None:
        """End this connection after the response to the current request. Refuse a request that is incomplete."""
        if (self.header_bytes or self._has_begun) and not self.is_responding:
            self.refuse(503, _STOPPING)
        else:
            super().shutdown()

    def end_unfinished(self) -> None:
        """Refuse the request that is still in progress, because the server stops."""
        if self.is_responding:
            self.refuse(503, _STOPPING)

    def _close_after_body(self) -> None:
        """Close the connection. If the body is not complete, receive the rest of the body first."""
        if self.is_in_headers:
            self.transport.close()
        else:
            self._close_later()

    def _close_later(self) -> None:
        """Close the connection after a delay, so that the client can read the response."""
        if self.closing is None and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self.closing = early_end.LingeringClose(self.loop, self.transport, self.settings)

    def refuse(self, status: int, error: DropzoneError) -> None:
        """Respond without calling the application, and read no further request on this connection."""
        self._refusal = (status, error)
        self._cancel_header_timer()
        if self.is_responding:
            if self.cycle.response_started:
                self.transport.close()
                return
            early_end.disconnect_application(self.cycle)
        self.transport.write(early_end.error_response(status, error))
        self._close_later()

    def _end_late_headers(self) -> None:
        """Refuse a request whose headers are incomplete, and close a connection without a request."""
        self._header_timer = None
        if self.header_bytes or self._has_begun:
            seconds = self.settings.header_timeout_seconds
            self.refuse(408, RequestTimeout(f"the headers were not complete after {seconds:g} s"))
        else:
            self.transport.close()

    def _start_header_timer(self) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(self.settings.header_timeout_seconds, self._end_late_headers)

    def _cancel_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _end_close(self, closing: early_end.LingeringClose) -> None:
        """Wait for the next request, because the rest of the body has arrived. Close if the client wanted it."""
        closing.cancel()
        self.closing = None
        if self.cycle.keep_alive:
            self.flow.resume_reading()  # `discards` may have stopped it
            seconds, close = self.timeout_keep_alive, self.timeout_keep_alive_handler
            self.timeout_keep_alive_task = self.loop.call_later(seconds, close)
        else:
            self.transport.close()

    def _cancel_timers(self) -> None:
        self._cancel_header_timer()
        if self.closing is not None:
            self.closing.cancel()
        if self._stall_timer is not None:
            self._stall_timer.close()
        self.closing = self._stall_timer = None
