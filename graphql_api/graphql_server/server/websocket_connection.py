"""WebSocket connections with the bounds that uvicorn lacks: for clients that do not read, or begin with nonsense.

What a client does wrong ends its connection and is no error of ours: it leaves no trace in the log.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from graphql_api.graphql_server.server.http_connection import LAST_WORDS, ServerSettings
from graphql_api.graphql_server.server.stall_timer import StallTimer

TOO_SLOW = 4490

logger = logging.getLogger("graphql_api")


def limited_websocket(settings: ServerSettings) -> type[WebSocketsSansIOProtocol]:
    """Make the class of WebSocket connections for these settings."""
    return type("LimitedWebSocket", (_WebSocketConnection,), {"settings": settings})


class _WebSocketConnection(WebSocketsSansIOProtocol):
    settings: ServerSettings

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._writing = StallTimer(
            self.loop,
            self.transport,
            self._stalled,
            seconds=self.settings.stalled_seconds,
            least=self.settings.reading_bytes_per_second,
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self._writing.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            # The library has refused what it read; uvicorn still waits for a request.
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" and not self.close_sent and not _is_utf_8(self.frames):
            self.frames = []
            self.conn.send_close(1007)
            self.handle_parser_exception()
        else:
            super().send_receive_event_to_app()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True  # by a refusal of ours, which uvicorn would take for none

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writing.start()
        # Every ping that is read is a pong that is written.
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self._writing.stop()
        if not self.read_paused:
            self.transport.resume_reading()
        super().resume_writing()

    def _stalled(self) -> None:
        """Leave a close code for a client that may read on some day, and forget it soon."""
        if self.close_sent or not self.handshake_complete:
            self.transport.abort()
            return
        logger.warning("cut off a WebSocket whose client read next to nothing for %g s", self.settings.stalled_seconds)
        self.stop_keepalive()
        last_words = self.scope["state"].get(LAST_WORDS, list)
        for text in last_words():
            self.conn.send_text(text.encode())
        self.queue.put_nowait({"type": "websocket.disconnect", "code": TOO_SLOW})
        self.conn.send_close(TOO_SLOW, "TOO_SLOW: subscribe again behind the last cursor")
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.close_timer = self.loop.call_later(self.settings.stalled_seconds, self.transport.abort)


def _is_utf_8(frames: Sequence[bytes]) -> bool:
    try:
        b"".join(frames).decode()
    except UnicodeDecodeError:
        return False
    return True
