"""A response that goes on: frames as they come, signs of life between them, an end that says which it is.

One task makes frames and sends them; the response itself only wakes up when the client is gone, when
nothing was sent for a while, or when the server stops. A client that reads slowly holds back the source
of its own frames and nothing else; the server cuts off one that does not read at all, with last words of ours.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from graphql_api.errors import TooSlow
from graphql_api.graphql_server.server.http_connection import LAST_WORDS
from graphql_api.graphql_server.settings import TransportSettings
from storage.documents.errors import DropzoneError


@dataclass(frozen=True, kw_only=True, slots=True)
class Framing:
    """What a stream looks like on the wire, beside its frames."""

    content_type: bytes
    opening: bytes
    keep_alive: bytes
    farewell: bytes
    """Sent when the server stops; the client is meant to come back."""
    refusal: Callable[[DropzoneError], bytes]
    """Makes the last frames for a client whose credential is good no longer."""


@dataclass(slots=True)
class Sent:
    """How far a stream has come, for a client that is cut off because it does not read."""

    cursor: str = ""


class StreamResponse(Response):
    """Sends frames until their source ends, the client goes, its credential is refused or `closing` is set."""

    def __init__(
        self,
        frames: AsyncGenerator[bytes, None],
        framing: Framing,
        refusal: Callable[[], Awaitable[DropzoneError]],
        closing: asyncio.Event,
        settings: TransportSettings,
        sent: Sent,
    ) -> None:
        self._frames = frames
        self._framing = framing
        self._refusal = refusal
        self._closing = closing
        self._settings = settings
        self._sent = sent
        self._quiet = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the stream to its end."""
        headers = [
            (b"content-type", self._framing.content_type),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            (b"x-accel-buffering", b"no"),
        ]
        scope["state"][LAST_WORDS] = lambda: self._framing.refusal(TooSlow(self._sent.cursor))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await _send_frame(send, self._framing.opening)
        source = asyncio.create_task(self._send_frames(send))
        gone = asyncio.create_task(_disconnected(receive))
        refused = asyncio.ensure_future(self._refusal())
        closing = asyncio.create_task(self._closing.wait())
        tasks: set[asyncio.Future[Any]] = {source, gone, refused, closing}
        last = self._framing.farewell
        try:
            while True:
                self._quiet = True
                done, _ = await asyncio.wait(
                    tasks, timeout=self._settings.keep_alive_seconds, return_when=asyncio.FIRST_COMPLETED
                )
                if done:
                    break
                if self._quiet:
                    await _send_frame(send, self._framing.keep_alive)
            if refused in done:
                last = self._framing.refusal(refused.result())
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._frames.aclose()
        if gone in done:
            return
        if source in done:
            source.result()
        elif last:
            await _send_frame(send, last)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_frames(self, send: Send) -> None:
        async with aclosing(self._frames) as frames:
            async for frame in frames:
                await _send_frame(send, frame)
                self._quiet = False


async def _send_frame(send: Send, frame: bytes) -> None:
    await send({"type": "http.response.body", "body": frame, "more_body": True})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
