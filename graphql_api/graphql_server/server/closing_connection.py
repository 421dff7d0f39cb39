"""HTTP connections that end early, with a response that their client can read.

The server can respond before it has read the whole body, for example with 401 or 413. If it then closed the connection
at once, a client that is still sending would get a connection reset instead of the response. Before the server closes
the connection, it therefore receives and discards the rest of the body for a short time.
"""

import asyncio
import logging
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from graphql_api.client_text import shorten
from graphql_api.errors import RequestTimeout, describe
from graphql_api.graphql_server.server.sequential_requests import SequentialRequests
from graphql_api.graphql_server.settings import ServerSettings
from graphql_api.graphql_server.slow_reader_notice import notice_of
from storage.documents.errors import DropzoneError, RetryLater, Unavailable

logger = logging.getLogger("graphql_api")


class ClosingConnection(SequentialRequests):
    """An HTTP connection that refuses requests, and ends responses that its client does not read."""

    settings: ServerSettings

    has_begun = False
    """Whether the headers of a request are parsed in part."""

    refusal: tuple[int, DropzoneError] | None = None
    """The status and the error of the refused request. The connection reads no further request."""

    header_timer: asyncio.TimerHandle | None = None
    close_timer: asyncio.TimerHandle | None = None

    _discarded_bytes = 0
    """The bytes that were received after the response."""

    def shutdown(self) -> None:
        """End this connection after the response to the current request. Refuse a request that is incomplete."""
        if (self.header_bytes or self.has_begun) and not self.is_responding:
            self.refuse(503, _stopping())
        else:
            super().shutdown()

    def end_unfinished(self) -> None:
        """Refuse the request that is still in progress, because the server stops."""
        if self.is_responding:
            self.refuse(503, _stopping())

    @property
    def has_unread_body(self) -> bool:
        """Whether the client is still sending the request."""
        return not self.is_in_headers

    def count_discarded(self, data: bytes) -> None:
        """Count data that is received after the response. If there is too much data, stop reading."""
        self._discarded_bytes += len(data)
        if self._discarded_bytes > self.settings.max_unread_body_bytes:
            self.flow.pause_reading()

    def close_later(self) -> None:
        """Close the connection after a delay, so that the client can read the response."""
        if self.close_timer is None and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._discarded_bytes = 0
            self.close_timer = self.loop.call_later(self.settings.unread_body_seconds, self.transport.close)

    def end_stalled_response(self) -> None:
        """End a response whose client reads almost nothing, with the notice of the application if it has one."""
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
        """Send `http.disconnect` to the application. uvicorn then ignores everything that the application sends."""
        self.cycle.disconnected = True
        self.cycle.message_event.set()

    def end_late_headers(self) -> None:
        """Refuse a request whose headers are incomplete, and close a connection without a request."""
        self.header_timer = None
        if self.header_bytes or self.has_begun:
            seconds = self.settings.header_timeout_seconds
            self.refuse(408, RequestTimeout(f"the headers were not complete after {seconds:g} s"))
        else:
            self.transport.close()

    def refuse(self, status: int, error: DropzoneError) -> None:
        """Respond without calling the application, and read no further request on this connection."""
        self.refusal = (status, error)
        if self.header_timer is not None:
            self.header_timer.cancel()
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


def _stopping() -> Unavailable:
    return Unavailable("the server is stopping; send this request again")


class DelayedCloseTransport:
    """The transport for a request with `Connection: close`. It receives the rest of the body before it closes."""

    def __init__(self, connection: ClosingConnection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection.transport, name)

    def close(self) -> None:
        """Close the connection. If the body is not complete, receive the rest of the body first."""
        if self._connection.has_unread_body:
            self._connection.close_later()
        else:
            self._connection.transport.close()
