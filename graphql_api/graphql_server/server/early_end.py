"""Ends a request or a response early, so that its client can read why.

The server can respond before it has read the whole body, for example with 401 or 413. If it then closed the connection
at once, a client that is still sending would get a connection reset instead of the response. The server therefore first
receives and discards the rest of the body for a short time.
"""

import asyncio
import logging
import re
import sys
from collections.abc import Callable
from typing import Any

import orjson
from httptools import HttpParserInvalidMethodError
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from graphql_api.client_text import shorten
from graphql_api.error_entries import describe
from graphql_api.graphql_server.settings import ServerSettings
from graphql_api.graphql_server.slow_reader_notice import notice_of
from storage.documents.errors import BadRequest, DropzoneError, RetryLater

_METHOD = re.compile(rb"(?:\r\n)*([\w!#$%&'*+.^`|~-]+) ", re.ASCII)

logger = logging.getLogger("graphql_api")


class LingeringClose:
    """Closes `transport` after `unread_body_seconds`, unless it is cancelled."""

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, settings: ServerSettings) -> None:
        self._bytes_left = settings.max_unread_body_bytes
        self._timer = loop.call_later(settings.unread_body_seconds, transport.close)

    def admit_data(self, data: bytes) -> bool:
        """Count data that is received after the response. Return False if there is too much data."""
        self._bytes_left -= len(data)
        return self._bytes_left >= 0

    def cancel(self) -> None:
        """Leave the connection open, because the client has sent the rest of the body."""
        self._timer.cancel()


def close_when_read(loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, settings: ServerSettings) -> None:
    """Close a connection after its client has received all data, but wait only for a limited time.

    The stall timer runs only while much data waits to be sent.
    """
    transport.close()
    if transport.get_write_buffer_size():
        loop.call_later(settings.unread_response_seconds, transport.abort)


class CloseTransport:
    """A transport whose method `close` is replaced, also for the calls of uvicorn."""

    __slots__ = ("_transport", "close")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self._transport = transport
        self.close = close

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def error_response(status: int, error: DropzoneError) -> bytes:
    """Return a response that says that the server closes the connection."""
    body = orjson.dumps({"errors": [describe(error)]})
    retry_after = b"retry-after: %d\r\n" % error.retry_after if isinstance(error, RetryLater) else b""
    head = b"content-type: application/json; charset=utf-8\r\nconnection: close\r\n%bcontent-length: %d\r\n\r\n"
    return STATUS_LINE[status] + head % (retry_after, len(body)) + body


def malformed(message: str, data: bytes) -> tuple[int, DropzoneError]:
    """Return the status and the error for data that the parser refuses with `message`.

    Call this while the error of the parser is handled.
    """
    method = _METHOD.match(data) if isinstance(sys.exception(), HttpParserInvalidMethodError) else None
    if method is None:
        return 400, BadRequest(f"{message} In a URL, use %XX for characters other than ASCII.")
    name = shorten(method[1].decode(), 40)
    return 501, BadRequest(f"the method {name} is unknown; methods are in upper case, such as GET and POST")


def disconnect_application(cycle: RequestResponseCycle) -> None:
    """Send `http.disconnect` to the application. uvicorn then ignores everything that the application sends."""
    cycle.disconnected = True
    cycle.message_event.set()


def end_stalled_response(cycle: RequestResponseCycle, transport: asyncio.Transport, stall_seconds: float) -> None:
    """End a response whose client reads almost nothing, with the notice of the application if it has one."""
    logger.warning(
        "ended the response to %s %s: the client read almost no data for %g s",
        cycle.scope["method"],
        shorten(cycle.scope["path"]),
        stall_seconds,
    )
    notice = None if cycle.response_complete else notice_of(cycle.scope)
    if notice is None:
        transport.abort()
        return
    disconnect_application(cycle)
    for message in notice():
        transport.write(b"%x\r\n%b\r\n" % (len(message), message))
    transport.write(b"0\r\n\r\n")
    asyncio.get_running_loop().call_later(stall_seconds, transport.abort)
