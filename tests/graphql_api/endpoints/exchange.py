"""Requests to an application in the process of the test, without a server."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.types import Message, Scope


class Exchange(NamedTuple):
    """A request. If `is_abandoned`, its client disconnects as soon as the response begins."""

    path: str
    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    is_abandoned: bool = False
    is_complete: bool = True
    """Whether the client sends the whole body before it disconnects."""

    async def run(self, app: Starlette, key: str, read: Callable[[], Awaitable[object]] | None = None) -> bytes:
        """Call the application as the server does. Return the body of the response.

        The client waits for `read` before it reads each part of the body.
        """
        received: list[bytes] = []
        messages: list[Message] = [{"type": "http.request", "body": self.body, "more_body": not self.is_complete}]
        disconnected = asyncio.Event()

        async def receive() -> Message:
            if messages:
                return messages.pop()
            await disconnected.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                assert message["status"] == self.status
                if self.is_abandoned:
                    disconnected.set()
            elif read is not None:
                await read()
            received.append(message.get("body", b""))

        path, _, query = self.path.partition("?")
        scope: Scope = {
            "type": "http",
            "method": "POST" if self.body else "GET",
            "scheme": "http",
            "path": path,
            "query_string": query.encode(),
            "headers": [(b"host", b"x"), (b"x-api-key", key.encode()), *self.headers],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 1),
            "state": {},
        }
        await app(scope, receive, send)
        return b"".join(received)
