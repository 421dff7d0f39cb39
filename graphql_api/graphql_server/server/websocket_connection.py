"""WebSocket connections with limits that uvicorn has no setting for.

- If a client stops reading, uvicorn holds the unsent data without a time limit. This module closes the WebSocket.
- If the `websockets` library refuses a handshake, uvicorn leaves the connection open. This module closes it.
- If a client sends text that is not UTF-8, or its origin is denied, uvicorn logs an error of the server. This module
  ends the connection without this log entry.

`WebSocketsSansIOProtocol` is a private interface of uvicorn. requirements.lock pins the exact version; see
docs/architecture.md.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from graphql_api.graphql_server.server.stall_timer import StallTimer
from graphql_api.graphql_server.settings import ServerSettings
from graphql_api.graphql_server.slow_reader_notice import notice_of

_INVALID_TEXT = 1007
_TOO_SLOW = 4490

logger = logging.getLogger("graphql_api")


def websocket_connection_class(settings: ServerSettings) -> type[WebSocketsSansIOProtocol]:
    """Return a class of WebSocket connections with these limits. uvicorn creates one instance per connection."""
    return type("WebSocketConnection", (_WebSocketConnection,), {"settings": settings})


class _WebSocketConnection(WebSocketsSansIOProtocol):
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
        self._stall_timer.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            # The library has refused the handshake. uvicorn would wait for a second handshake.
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" and not self.close_sent and not _is_utf_8(self.frames):
            self.frames = []
            self.conn.send_close(_INVALID_TEXT)
            self.handle_parser_exception()
        else:
            super().send_receive_event_to_app()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = (
                True  # the application denied the handshake; uvicorn would report a missing response
            )

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall_timer.start()
        # The server answers each ping with a pong, which would go to the full write buffer.
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self._stall_timer.stop()
        if not self.read_paused:
            self.transport.resume_reading()
        super().resume_writing()

    def _close_stalled(self) -> None:
        if self.close_sent or not self.handshake_complete:
            self.transport.abort()
            return
        logger.warning("closed a WebSocket: the client read almost no data for %g s", self.settings.stall_seconds)
        self.stop_keepalive()
        notice = notice_of(self.scope)
        for message in [] if notice is None else notice.messages():
            self.conn.send_text(message)
        self.queue.put_nowait({"type": "websocket.disconnect", "code": _TOO_SLOW})
        self.conn.send_close(_TOO_SLOW, "TOO_SLOW: subscribe again after the last cursor")
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.close_timer = self.loop.call_later(self.settings.stall_seconds, self.transport.abort)


def _is_utf_8(frames: Sequence[bytes]) -> bool:
    try:
        b"".join(frames).decode()
    except UnicodeDecodeError:
        return False
    return True
