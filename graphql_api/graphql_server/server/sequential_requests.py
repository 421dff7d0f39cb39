"""HTTP connections that parse the next request only after the response to the previous request.

uvicorn parses all requests that it receives. Many small requests at once would therefore use a hundred times the memory
of their data. The parser handles all bytes that it gets in one call. This module therefore cuts the received data where
a request may end. It keeps the rest, and reads no more data until it has parsed the rest.

uvicorn also parses a body before the application reads the body. Many requests can wait for their turn, so this module
keeps all but the start of a body, and parses it when the application reads the body.

Most requests are small and arrive whole, after the response to the previous one. Their data is parsed at once, without
a turn and a timer. The server's part of a request then takes 35 µs of CPU time. Otherwise, it takes 46 µs.
"""

import asyncio
import time
from collections.abc import Callable
from typing import cast

from uvicorn.protocols.http.flow_control import FlowControl

from graphql_api.budgets.parsing_turns import MAX_LIGHT_SECONDS, ParsingTurns
from graphql_api.graphql_server.requests.request_headers import HTTP2_TOKEN, TLS_TOKEN
from graphql_api.graphql_server.server.http_connection import HTTPConnection
from graphql_api.graphql_server.server.open_connections import OpenConnections
from graphql_api.graphql_server.server.unparsed_data import UnparsedData, UnparsedTotal
from graphql_api.graphql_server.settings import ServerSettings
from graphql_api.graphql_server.tcp_state import has_unread_end
from storage.documents.errors import DropzoneError, Unavailable

_END_OF_LINE = b"\r\n"
"""Chunks end with these bytes too."""

_END_OF_HEADERS = b"\r\n\r\n"
"""A chunked body ends with these bytes too."""

_MAX_WHOLE_BYTES = 4 * 1024
"""Data up to this size is parsed at once if it contains exactly one request."""

_MAX_CHUNKED_PART_BYTES = 8 * 1024
"""The chunks of a body may have one byte each. The parser may then need 2 ms for a part."""

_MAX_EARLY_BYTES = 16 * 1024
"""Data of a body up to this size is parsed before the application reads the body."""

_END_CHECK_SECONDS = 0.5
"""Time between two checks whether the client has disconnected, while its next request or its body waits."""


def http_connection_class(
    settings: ServerSettings, open_connections: OpenConnections, unparsed_total: UnparsedTotal
) -> type[HTTPConnection]:
    """Return a class of HTTP connections with these limits. uvicorn creates one instance per connection."""
    members = {
        "settings": settings,
        "open_connections": open_connections,
        "unparsed_total": unparsed_total,
        "parsing_turns": ParsingTurns(),
    }
    return type("ConfiguredHTTPConnection", (SequentialConnection,), members)


class BodyFlow(FlowControl):
    """uvicorn's flow control. Reads more data only if no data is held and the body is not too large for its buffer."""

    is_wanted = True
    """Whether the application has started to read the body of the current request."""

    _is_held = False
    _is_full = False

    def __init__(self, transport: asyncio.Transport, on_resumed: Callable[[], None]) -> None:
        super().__init__(transport)
        self._on_resumed: Callable[[], None] | None = on_resumed

    def forget(self) -> None:
        """Forget the connection, because it refers to this object too."""
        self._on_resumed = None

    def hold(self) -> None:
        """Stop reading until `release`."""
        self._is_held = True
        super().pause_reading()

    def release(self) -> None:
        """Allow reading again, unless the buffer of the body is full."""
        self._is_held = False
        if not self._is_full and not self._transport.is_closing():
            super().resume_reading()

    def discard(self) -> None:
        """Allow reading again, because neither the held data nor the body is needed."""
        self._is_full = False
        self.release()

    def pause_reading(self) -> None:
        """Stop reading until the application reads the body. uvicorn calls this method when the buffer is full."""
        self._is_full = True
        super().pause_reading()

    def resume_reading(self) -> None:
        """Read more data, unless data is held. uvicorn calls this method when the application reads the body."""
        self._is_full = False
        self.is_wanted = True
        if not self._is_held:
            super().resume_reading()
        if self._on_resumed is not None:
            self._on_resumed()


class SequentialConnection(HTTPConnection):
    """An HTTP connection that parses one request at a time."""

    unparsed_total: UnparsedTotal
    parsing_turns: ParsingTurns

    unparsed: UnparsedData | None = None
    """The data that cannot be parsed yet. None until there is such data."""

    parsing_seconds = 0.0
    """The CPU time for parsing the body of the current request. It starts at the limit of light requests if the
    body has chunks.
    """

    _end_timer: asyncio.TimerHandle | None = None
    _waits_for_turn = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.body_flow = BodyFlow(cast(asyncio.Transport, transport), self._continue_body)
        super().connection_made(transport)
        self.flow = self.body_flow

    def connection_lost(self, exc: Exception | None) -> None:
        if self.unparsed is not None:
            self.unparsed.clear()
        super().connection_lost(exc)
        self.body_flow.forget()

    def data_received(self, data: bytes) -> None:
        if self.closing is not None and self.discards(data, self.closing):
            return
        if (headers_end := self._end_of_whole_headers(data)) is not None:
            self.parse_whole(data)
            self._note_body()  # it may be incomplete
            if self.is_upgraded:
                self._pass_on(data[headers_end:])
        elif self.unparsed:
            self.unparsed.append(data)
            self._hold(self.unparsed)
        else:
            self._parse(data, 0)

    def _end_of_whole_headers(self, data: bytes) -> int | None:
        """Return the end of the headers if `data` is one small request that can be parsed at once, otherwise None."""
        if (
            not self.unparsed
            and self.is_in_headers
            and not self.header_bytes
            and not self.is_responding
            and len(data) <= _MAX_WHOLE_BYTES
            and (end := data.find(_END_OF_HEADERS)) >= 0
            and data.find(_END_OF_LINE, end + len(_END_OF_HEADERS)) < 0
            and data.find(HTTP2_TOKEN, 0, end) == data.find(TLS_TOKEN, 0, end) == -1
        ):
            return end + len(_END_OF_HEADERS)
        return None

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.parsing_seconds = MAX_LIGHT_SECONDS if self.content_end is None else 0.0  # chunks may have one byte each
        self.body_flow.is_wanted = False

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.slot is not None and self.is_responding and not self.flow.write_paused:
            self.slot.set_busy()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._note_body()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.is_in_headers and self.unparsed:
            self._wait_for_turn()

    def handle_websocket_upgrade(self) -> None:
        self.body_flow.forget()
        super().handle_websocket_upgrade()

    def refuse(self, status: int, error: DropzoneError) -> None:
        """Respond without calling the application. Discard the data that is not parsed yet, and read more."""
        if self.unparsed is not None:
            self.unparsed.clear()
        self.body_flow.discard()
        super().refuse(status, error)

    def _parse(self, data: bytes, start: int, *, has_turn: bool = False) -> None:
        """Parse data that may contain a part of a request, or several requests."""
        turns = self.parsing_turns
        while start < len(data):
            if self._must_wait(len(data) - start) or not (has_turn or turns.may_parse(self.parsing_seconds)):
                if self.unparsed is None:
                    self.unparsed = UnparsedData(self.unparsed_total)
                self.unparsed.set(data, start)
                self._hold(self.unparsed)
                return
            end = self._end_of_part(data, start)
            started_at = time.thread_time()  # wall-clock time would include other processes on a busy machine
            is_open = self.parse_part(data[start:end])
            seconds = time.thread_time() - started_at
            self.parsing_seconds += seconds
            turns.use(seconds)
            if not is_open:
                return
            has_turn = False
            start = end
            if self.is_upgraded:
                self._pass_on(data[start:])
                return
        self._note_body()

    def _must_wait(self, size: int) -> bool:
        """Return whether data of this size waits for the end of the response, or until the application reads it."""
        if self.is_in_headers:
            return self.is_responding
        return size > _MAX_EARLY_BYTES and not self.body_flow.is_wanted

    def _end_of_part(self, data: bytes, start: int) -> int:
        if self.is_in_headers:
            limit = start + self.settings.max_header_bytes - self.header_bytes
        elif self.content_end is None:
            limit = start + _MAX_CHUNKED_PART_BYTES
        else:
            return start + self.content_end - self.received_body_bytes
        end = data.find(_END_OF_HEADERS, start, limit)
        return limit if end < 0 else end + len(_END_OF_HEADERS)

    def _pass_on(self, data: bytes) -> None:
        """Pass data that follows the handshake to the WebSocket."""
        if data:
            cast(asyncio.Protocol, self.transport.get_protocol()).data_received(data)

    def _hold(self, unparsed: UnparsedData) -> None:
        """Read no more data until the unparsed data is parsed. End the connection if there is too much of it."""
        if unparsed.is_too_much and self.is_in_headers:
            self.transport.abort()
        elif unparsed.is_too_much:
            self.refuse(503, Unavailable("too many bodies wait in the memory of the server; send this request again"))
        else:
            self.body_flow.hold()
            self._note_body()
            if not self._must_wait(unparsed.size):
                self._wait_for_turn()
            elif self._end_timer is None:
                self._end_timer = self.loop.call_later(_END_CHECK_SECONDS, self._check_end)

    def _check_end(self) -> None:
        """End the work on the current request if its client has disconnected."""
        self._end_timer = None
        if not self.unparsed:
            return
        if has_unread_end(self.transport):
            self.transport.abort()
        else:
            self._end_timer = self.loop.call_later(_END_CHECK_SECONDS, self._check_end)

    def _continue_body(self) -> None:
        """Parse more of the body, because the application wants it. Without such data, the client has to send it."""
        if self.unparsed:
            self._wait_for_turn()
        else:
            self._note_body()

    def _note_body(self) -> None:
        """Count the connection as idle while the rest of a body has to arrive, and as busy while the client waits."""
        if self.slot is None or self.is_in_headers or not self.is_responding or self.flow.write_paused:
            return  # while the client does not read its response, the connection stays idle
        if self.transport.is_reading() and not self.cycle.waiting_for_100_continue:
            self.slot.set_idle()
        else:
            self.slot.set_busy()

    def _wait_for_turn(self) -> None:
        """Parse the data that is not parsed yet, in a later iteration of the event loop."""
        if not self._waits_for_turn:
            self._waits_for_turn = True
            self.parsing_turns.wait(self._parse_in_turn, self.parsing_seconds)

    def _parse_in_turn(self) -> None:
        self._waits_for_turn = False
        if not self.unparsed or self.transport.is_closing():
            return
        if has_unread_end(self.transport):
            self.transport.abort()
        else:
            data, start = self.unparsed.data, self.unparsed.start
            self.unparsed.clear()
            self._parse(data, start, has_turn=True)
            if not self.unparsed:
                self.body_flow.release()
