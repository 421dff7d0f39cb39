"""Requests to an application in the process of the test, without a server."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
from starlette.applications import Starlette
from starlette.types import Message, Scope

from graphql_api.app import create_app
from graphql_api.configuration.limits import Limits
from graphql_api.configuration.settings import Settings
from tests.graphql_api.graphql_server.service import UNLIMITED_MIB
from tests.stack import Stack


def limited_app(stack: Stack, monkeypatch: pytest.MonkeyPatch, **limits: int) -> Starlette:
    """Return an application that uses the Firestore of `stack`, with other limits."""
    for name, value in stack.firestore_environment.items():
        monkeypatch.setenv(name, value)
    return create_app(Settings(limits=Limits(max_memory_mib=UNLIMITED_MIB, **limits)))


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


EXPORT = Exchange("/results?format=csv")


@asynccontextmanager
async def unread_export(app: Starlette, key: str) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
    """Send a request for an export whose client does not read the response.

    The client reads it when the yielded function is called. This function returns the body.
    """
    begun, is_read = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        begun.set()
        await is_read.wait()

    async def read() -> bytes:
        is_read.set()
        return await export

    async with asyncio.TaskGroup() as tasks:
        export = tasks.create_task(EXPORT.run(app, key, wait))
        await begun.wait()
        yield read


async def refused_export(app: Starlette, key: str) -> tuple[str, str, int]:
    """Send a request for an export that is refused. Return the code, the limit and the seconds until a retry."""
    error = json.loads(await EXPORT._replace(status=429).run(app, key))["error"]["extensions"]
    return error["code"], error["limit"], error["retryAfter"]
