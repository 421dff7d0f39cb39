"""A WebSocket connection of uvicorn with these changes:

- uvicorn keeps each fragment of a message as an object. This module joins the fragments.
- If a client stops reading, uvicorn holds the unsent data without a time limit. This module closes the WebSocket.
- If the `websockets` library refuses a handshake, uvicorn leaves the connection open. This module closes it.
- If a client sends text that is not UTF-8, or its origin is denied, uvicorn logs an error. This module does not.

`WebSocketsSansIOProtocol` is a private interface of uvicorn; see docs/architecture.md.
"""

import asyncio
import logging
from typing import Any, cast

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.protocol import OPEN

from graphql_api.client_text import is_utf_8
from graphql_api.graphql_server.server.stall_timer import StallTimer
from graphql_api.graphql_server.settings import ServerSettings
from graphql_api.graphql_server.slow_reader_notice import notice_of

_INVALID_TEXT = 1007
_TOO_SLOW = 4490

logger = logging.getLogger("graphql_api")


class WebSocketConnection(WebSocketsSansIOProtocol):
    """A connection that closes itself if its handshake is refused, or if its client stops reading."""

    settings: ServerSettings

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._stall_timer = StallTimer(
            self.loop,
            self.transport,
            self._close_stalled,
            seconds=self.settings.stall_seconds,
            min_bytes_per_second=self.settings.min_read_bytes_per_second,
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self._stall_timer.close()
        super().connection_lost(exc)
        self.conn.parser.close()  # it refers to `conn`: without this, each WebSocket is a reference cycle

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            # The library has refused the handshake. uvicorn would wait for a second handshake.
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def handle_events(self) -> None:
        events = self.conn.events
        super().handle_events()
        for event in events:
            if isinstance(event, Frame):
                event.data = b""  # the parser of the library refers to the last frame until the next one

    def handle_cont(self, event: Frame) -> None:
        if self.frames:
            frames = cast(list[Any], self.frames)
            if not isinstance(frames[0], bytearray):
                frames[0] = bytearray(frames[0])
            frames[0] += event.data
            if event.fin:
                self.send_receive_event_to_app()

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" and not self.close_sent and not is_utf_8(self.frames[0]):
            self.frames = []
            self.conn.send_close(_INVALID_TEXT)
            self.handle_parser_exception()
        else:
            super().send_receive_event_to_app()

    async def send(self, message: Any) -> None:
        await self.writable.wait()
        if self.close_sent:
            raise ClientDisconnected  # uvicorn would raise an error that reports a bug of the application
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True  # the application denied it; uvicorn would report a missing response

    def send_close(self, code: int, reason: str) -> None:
        """Send a close frame, and tell the application."""
        self.stop_keepalive()
        if not self.close_sent and self.conn.state is OPEN:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
            self.conn.send_close(code, reason)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall_timer.start()

    def resume_writing(self) -> None:
        self._stall_timer.stop()
        super().resume_writing()

    def _close_stalled(self) -> None:
        if self.close_sent or not self.handshake_complete:
            self.transport.abort()
            return
        logger.warning("closed a WebSocket: the client read almost no data for %g s", self.settings.stall_seconds)
        notice = notice_of(self.scope)
        for message in [] if notice is None else notice():
            self.conn.send_text(message)
        self.send_close(_TOO_SLOW, "TOO_SLOW: subscribe again with the last cursor as `after`")
        self.close_timer = self.loop.call_later(self.settings.stall_seconds, self.transport.abort)
