"""WebSocket connections that parse a few frames in each iteration of the event loop.

- A client can send very many frames at once. Only a few are admitted from a client that has not authenticated itself,
  and the number of frames without data (pings, pongs and so on) is limited.
- Memory for a large message is reserved until the application has handled the message.
- While frames wait, the connection is not read, so its end would be noticed only after all of them. This module asks
  the kernel whether the client has closed the connection.
"""

import asyncio
from typing import Any, cast

from websockets.frames import Frame
from websockets.http11 import Request

from graphql_api.budgets.budget import RateBudget
from graphql_api.budgets.memory_budget import MIN_RESERVED_BYTES
from graphql_api.graphql_server.server.http_connection import HTTPConnection
from graphql_api.graphql_server.server.unparsed_data import UnparsedData, UnparsedTotal
from graphql_api.graphql_server.server.websocket.connection import WebSocketConnection
from graphql_api.graphql_server.server.websocket.frame_scanner import FrameScanner
from graphql_api.graphql_server.server.websocket.frame_scheduler import (
    MAX_FRAMES_PER_WEBSOCKET,
    FrameScheduler,
    frames_in,
)
from graphql_api.graphql_server.settings import ServerSettings
from graphql_api.graphql_server.tcp_state import WRITABLE, has_unread_end
from graphql_api.graphql_server.websocket_authentication import WebSocketAuthentication
from storage.documents.errors import RateLimited, RetryLater

_POLICY_VIOLATION = 1008
_TRY_AGAIN_LATER = 1013


def websocket_connection_class(settings: ServerSettings, unparsed_total: UnparsedTotal) -> type[WebSocketConnection]:
    """Return a class of WebSocket connections with these limits. uvicorn creates one instance per connection."""
    members = {"settings": settings, "unparsed_total": unparsed_total, "scheduler": FrameScheduler()}
    return type("ConfiguredWebSocketConnection", (PacedWebSocketConnection,), members)


class PacedWebSocketConnection(WebSocketConnection):
    """A WebSocket connection that takes turns with other WebSockets to parse its frames."""

    unparsed_total: UnparsedTotal
    scheduler: FrameScheduler

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        slot = cast(HTTPConnection, self.transport.get_protocol()).slot
        assert slot is not None, "only a connection that has a slot receives a request"
        self._slot = slot
        self._slot.close = self._close_idle
        self._slot.become_websocket()
        self._authentication: WebSocketAuthentication | None = None
        self._scanner = FrameScanner()
        self._unparsed = UnparsedData(self.unparsed_total)
        self._is_waiting = self._is_discarding = False  # waiting for its turn to parse frames
        max_frames = self.settings.max_frames_without_data_per_second
        self._frames_without_data = RateBudget("max_frames_without_data_per_second", max_frames)
        self._frame_bytes = 0  # of the frame that is incomplete
        self._reserved_bytes = 0

    def connection_lost(self, exc: Exception | None) -> None:
        self._slot.end()
        self._discard_message()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self.handshake_initiated:
            super().data_received(data)
        elif not self._is_discarding:
            self._unparsed.append(data)
            if self._unparsed.is_too_much:
                self._refuse(_TRY_AGAIN_LATER, "too many frames wait; connect again later")
            self._parse_now()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if not self.close_sent:  # otherwise the library has refused the handshake before it had a scope
            scope = cast(dict[str, Any], self.scope)
            scope["state"][WRITABLE] = self.writable
            self._authentication = WebSocketAuthentication(scope, self._slot.set_authenticated, self.settings)

    def handle_ping(self) -> None:
        super().handle_ping()
        self._count_frame_without_data()

    def handle_pong(self, event: Frame) -> None:
        super().handle_pong(event)
        self._count_frame_without_data()

    def handle_cont(self, event: Frame) -> None:
        if not event.data:
            self._count_frame_without_data()
        super().handle_cont(event)

    async def receive(self) -> Any:
        if self.queue.empty():
            self.read_paused = False
            self._reserve_message()
            self._parse_now()
        return await self.queue.get()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if self._unparsed and message["type"] != "websocket.send":
            self._parse_now()  # the handshake is complete, or no more messages will be received

    def _parse_now(self) -> None:
        if not self._is_waiting and not self._is_discarding:
            self._parse(self.scheduler.max_frames)

    def _parse_in_turn(self) -> None:
        self._is_waiting = False
        self._parse(MAX_FRAMES_PER_WEBSOCKET)

    def _parse(self, max_frames: int) -> None:
        """Parse up to `max_frames` frames, or up to the end of a message. Then read more data, or wait."""
        if has_unread_end(self.transport):
            self._unparsed.clear()  # the client does not wait for the outcome of these frames
            self.transport.abort()
            return
        data, start, frames = self._unparsed.data, self._unparsed.start, 0
        while start < len(data) and frames < max_frames and self._can_parse:
            end = self._scanner.end_of_frame(data, start)
            earlier_bytes = self._incomplete_bytes
            frames += frames_in(end - start)
            if not self._admit_data(end - start):
                return
            self.conn.receive_data(data[start:end])
            self._frame_bytes = 0 if self._scanner.is_between_frames else self._frame_bytes + end - start
            start = end
            if self.conn.parser_exc is not None:
                self.handle_parser_exception()
            else:
                self.handle_events()
            if self.read_paused:  # a message is complete; all of its bytes are decoded now
                frames += frames_in(earlier_bytes)
        if frames:
            self.scheduler.spend(frames)
        if frames and not self._is_discarding:
            self._unparsed.set(data, start)
        if self._unparsed and self._can_parse and not self._is_waiting:
            self._is_waiting = True
            self.scheduler.wait(self._parse_in_turn)
        self._set_reading(not self._unparsed and not self.read_paused and self.writable.is_set())
        if frames:
            self._reserve_message()

    @property
    def _incomplete_bytes(self) -> int:
        """The bytes of the incomplete message."""
        return self._frame_bytes + (len(self.frames[0]) if self.frames else 0)

    def _reserve_message(self) -> None:
        """Reserve memory for the incomplete message. A message that the application handles keeps its reservation."""
        if not self.read_paused:
            self._reserve(self._incomplete_bytes)

    def _reserve(self, size: int) -> None:
        size = size if size > MIN_RESERVED_BYTES else 0
        reservation = None if self._authentication is None else self._authentication.reservation
        if reservation is not None and size != self._reserved_bytes:
            try:
                reservation.resize(size)
                self._reserved_bytes = size
            except RetryLater as error:
                self._refuse(_TRY_AGAIN_LATER, f"{error.code}: {error}")

    def _discard_message(self) -> None:
        """Release the memory of the incomplete message. The application can hold this connection for a while."""
        self._unparsed.clear()
        self.conn.reader.buffer.clear()
        self.frames = []
        self._reserve(0)

    def _count_frame_without_data(self) -> None:
        try:
            self._frames_without_data.take()
        except RateLimited:
            self._refuse(_POLICY_VIOLATION, "too many pings, pongs or empty fragments")

    @property
    def _can_parse(self) -> bool:
        is_ready = self.handshake_complete and not self.read_paused and self.writable.is_set()
        return is_ready and not self._is_discarding and not self.transport.is_closing()

    def _set_reading(self, is_reading: bool) -> None:
        if is_reading:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def _admit_data(self, size: int) -> bool:
        """Count data of a client that has not authenticated itself. If there is too much data, close the WebSocket."""
        if self._authentication is None or self._authentication.admit_data(size, self._scanner.is_between_frames):
            return True
        self._refuse(_POLICY_VIOLATION, "too many frames before connection_init")
        return False

    def _refuse(self, code: int, reason: str) -> None:
        """Close the WebSocket, and discard data that its client still sends, so that it can read the close frame."""
        self._is_discarding = True
        self._discard_message()
        self.send_close(code, reason)
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(self.settings.unread_body_seconds, self.transport.abort)
        self._set_reading(True)

    def _close_idle(self) -> None:
        """Close this WebSocket, because another connection needs its slot."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # the client does not read
        else:
            self._refuse(_TRY_AGAIN_LATER, "too many connections are open; connect again later")
            self.transport.close()  # with TLS, this waits for the client

    def pause_writing(self) -> None:
        super().pause_writing()
        # The server would respond to each ping with a pong, but the write buffer is full.
        self._set_reading(False)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._parse_now()
