"""HTTP connections that parse the next request only after the response to the previous request.

uvicorn parses all requests that it receives. A client that sends many small requests at once would therefore use a
hundred times the memory of its data. The parser handles all bytes that it gets in one call, so this module cuts the
received data where a request may end. It keeps the rest, and reads no more data until it has parsed the rest.
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from graphql_api.graphql_server.request_headers import headers_by_name
from graphql_api.graphql_server.server.open_connections import OpenConnections
from graphql_api.graphql_server.server.unparsed_data import UnparsedData

_END_OF_HEADERS = b"\r\n\r\n"  # a chunked body ends with these bytes too
_MAX_CHUNKED_PART_BYTES = 32 * 1024
_MAX_PIECES_PER_TURN = 2_000
"""Calls of `on_body` in one turn of the event loop. A chunk of a body may have one byte."""


class SequentialRequests(HttpToolsProtocol):
    """An HTTP connection that parses one request at a time. `max_header_bytes` limits the headers of each request."""

    max_header_bytes: int
    open_connections: OpenConnections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = self._flow = _Flow(transport)
        self.header_bytes = 0
        """The bytes of the current request that are parsed, until its headers are complete."""
        self.is_in_headers = True
        self._unparsed = UnparsedData(self.open_connections.unparsed)
        self._content_bytes_left: int | None = None  # None if the body is chunked
        self._pieces = 0  # of the body, in this turn of the event loop

    def connection_lost(self, exc: Exception | None) -> None:
        self._unparsed.clear()
        super().connection_lost(exc)

    @property
    def is_responding(self) -> bool:
        """Whether the response to a request is not complete."""
        return self.cycle is not None and not self.cycle.response_complete

    def data_received(self, data: bytes) -> None:
        if self._unparsed:
            self._unparsed.append(data)
            self._hold()
        else:
            self._parse(data, 0)

    def parse_part(self, part: bytes) -> bool:
        """Parse data that belongs to at most one request. Return whether to parse more data."""
        if self.is_in_headers:
            self.header_bytes += len(part)
        super().data_received(part)
        return not self.transport.is_closing()

    def discard(self) -> None:
        """Discard the data that is not parsed yet, and read more."""
        self._unparsed.clear()
        self._flow.release()

    def on_headers_complete(self) -> None:
        headers = headers_by_name(cast(dict[str, Any], self.scope))
        is_chunked = b"transfer-encoding" in headers
        self._content_bytes_left = None if is_chunked else int(headers.get(b"content-length", b"0"))
        self.is_in_headers = False
        self.header_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._pieces += 1
        if self._content_bytes_left is not None:
            self._content_bytes_left -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.is_in_headers = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._unparsed:
            self.loop.call_soon(self._parse_held)

    def _parse(self, data: bytes, start: int) -> None:
        self._pieces = 0
        while start < len(data):
            if (self.is_in_headers and self.is_responding) or self._pieces > _MAX_PIECES_PER_TURN:
                self._unparsed.set(data, start)
                self._hold()
                return
            end = self._end_of_part(data, start)
            if not self.parse_part(data[start:end]):
                return
            start = end
            protocol = self.transport.get_protocol()
            if protocol is not self:  # the request has opened a WebSocket
                if start < len(data):
                    cast(asyncio.Protocol, protocol).data_received(data[start:])
                return

    def _end_of_part(self, data: bytes, start: int) -> int:
        if self.is_in_headers:
            limit = start + self.max_header_bytes - self.header_bytes
        elif self._content_bytes_left is None:
            limit = start + _MAX_CHUNKED_PART_BYTES
        else:
            return start + self._content_bytes_left
        end = data.find(_END_OF_HEADERS, start, limit)
        return limit if end < 0 else end + len(_END_OF_HEADERS)

    def _hold(self) -> None:
        if self._unparsed.is_too_much:
            self.transport.abort()
            return
        self._flow.hold()
        if not (self.is_in_headers and self.is_responding):
            self.loop.call_soon(self._parse_held)

    def _parse_held(self) -> None:
        if self._unparsed and not self.transport.is_closing():
            data, start = self._unparsed.data, self._unparsed.start
            self._unparsed.clear()
            self._parse(data, start)
            if not self._unparsed:
                self._flow.release()


class _Flow(FlowControl):
    """uvicorn's flow control. While data is held, the application cannot resume reading."""

    _is_held = False

    def hold(self) -> None:
        """Stop reading until `release`."""
        self._is_held = True
        self.pause_reading()

    def release(self) -> None:
        """Allow reading again."""
        self._is_held = False
        if not self._transport.is_closing():
            self.resume_reading()

    def resume_reading(self) -> None:
        """Read more data, unless data is held."""
        if not self._is_held:
            super().resume_reading()
