"""GraphQL over Server-Sent Events: one stream for each operation ("distinct connections mode").

One task sends the events. Another task waits until the client disconnects, the credential is refused, or the server
stops. It also sends comments if no event is sent for some time. A client that reads slowly delays only its own events.
If a client reads almost no data, the connection ends the stream (see `slow_reader_notice.py`).
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from graphql_api.errors import TooSlow
from graphql_api.graphql_server.disconnection import wait_until_disconnected
from graphql_api.graphql_server.execution.responses import GraphQLResponse, from_error
from graphql_api.graphql_server.requests.media_types import EVENT_STREAM
from graphql_api.graphql_server.settings import KIB
from graphql_api.graphql_server.slow_reader_notice import set_notice
from storage.documents.errors import DropzoneError

_HEADERS = [
    (b"content-type", EVENT_STREAM + b"; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-accel-buffering", b"no"),
]
_MIN_AWAITED_BYTES = 8 * KIB
"""The next event is read only after the client has received almost all of an event over this size. Thousands of
clients can open streams and not read them.
"""

_COMMENT = b":\n\n"
_COMPLETE = b"event: complete\ndata: \n\n"
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")


class EventStreamResponse(Response):
    """Sends an event for each of `responses`, then the event `complete`.

    If `wait_until_refused` returns an error, the stream ends with this error. If `stopping` is set, the stream ends
    without `complete`, so that clients reconnect.
    """

    def __init__(
        self,
        responses: AsyncGenerator[GraphQLResponse, None],
        *,
        wait_until_refused: Callable[[], Awaitable[DropzoneError]],
        stopping: asyncio.Event,
        keep_alive_seconds: float,
    ) -> None:
        self._responses = responses
        self._wait_until_refused = wait_until_refused
        self._stopping = stopping
        self._keep_alive_seconds = keep_alive_seconds
        self._is_quiet = True
        self._cursor = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream until it ends."""
        set_notice(scope, lambda: [_last_events(TooSlow(self._cursor))])
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await _send(send, _COMMENT)
        events = asyncio.create_task(self._send_events(send))
        disconnected = asyncio.create_task(wait_until_disconnected(receive))
        refused = asyncio.ensure_future(self._wait_until_refused())
        stopping = asyncio.create_task(self._stopping.wait())
        tasks: set[asyncio.Future[Any]] = {events, disconnected, refused, stopping}
        try:
            while True:
                self._is_quiet = True
                done, _ = await asyncio.wait(
                    tasks, timeout=self._keep_alive_seconds, return_when=asyncio.FIRST_COMPLETED
                )
                if done:
                    break
                if self._is_quiet:
                    await _send(send, _COMMENT)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._responses.aclose()
            tasks.clear()  # the error of a task refers to its frames
        if disconnected in done:
            return
        if events in done:
            events.result()
        elif refused in done:
            await _send(send, _last_events(refused.result()))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_events(self, send: Send) -> None:
        async with aclosing(self._responses) as responses:
            async for response in responses:
                await _send(send, _event(response.body))
                self._is_quiet = False
                self._cursor = response.cursor
                if len(response.body) > _MIN_AWAITED_BYTES:
                    await _send(send, b"")  # waits until the client has received almost all of the event
        await _send(send, _COMPLETE)


def _event(data: bytes) -> bytes:
    """Return a `next` event. Each line break in `data` becomes a space.

    A line break would end the line `data:` of the event. Raw JSON that a client submitted can contain line breaks. In
    JSON, they occur only between tokens, where a space has the same meaning.
    """
    if b"\n" in data or b"\r" in data:  # in a fifth of the time of `translate`
        data = data.translate(_ONE_LINE)
    return b"event: next\ndata: %b\n\n" % data


def _last_events(error: DropzoneError) -> bytes:
    return _event(from_error(error).body) + _COMPLETE


async def _send(send: Send, events: bytes) -> None:
    await send({"type": "http.response.body", "body": events, "more_body": True})
