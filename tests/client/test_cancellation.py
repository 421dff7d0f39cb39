"""A subscription ends when its task is cancelled, at each step of the protocol, and when the server stays silent.

The server runs in the event loop of the test, so a number of iterations of the loop selects one step.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from dropzone import Unreachable
from dropzone.sign_in.credentials import Credentials
from dropzone.transport import connection, operations
from dropzone.transport.connection import Connection
from tests.aiohttp_server import serving
from tests.stack import PATIENCE_SECONDS

MAX_ITERATIONS = 80


async def respond(request: web.Request) -> web.WebSocketResponse:
    """Acknowledge the connection and send one result. The path of the URL selects another behaviour."""
    socket = web.WebSocketResponse(protocols=["graphql-transport-ws"])
    await socket.prepare(request)
    async for message in socket:
        values = message.json()
        if values["type"] == "ping":
            await socket.send_json({"type": "pong"})
        if request.path.startswith("/is-silent"):
            continue
        if values["type"] == "connection_init":
            await socket.send_json({"type": "connection_ack"})
        elif values["type"] == "subscribe":
            await socket.send_json({"type": "next", "id": values["id"], "payload": {"data": {"edge": {}}}})
            if request.path.startswith("/closes"):
                await socket.close()
    return socket


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """The URL of the server."""
    app = web.Application()
    app.router.add_get("/{behaviour}/graphql", respond)
    async with serving(app, shutdown_timeout=0.1) as url:
        yield url


@pytest.mark.parametrize("behaviour", ["stays-open", "closes"])
async def test_a_cancelled_subscription_ends_at_each_step(url: str, behaviour: str) -> None:
    """An event of the connection can arrive in the same iteration of the event loop as the cancellation."""
    server = Connection(f"{url}/{behaviour}", Credentials("key", None))
    received = 0

    async def watch() -> None:
        nonlocal received
        async for _ in server.subscribe(operations.WATCH, {"after": None}):
            received += 1

    for iterations in range(MAX_ITERATIONS):
        watching = asyncio.create_task(watch())
        for _ in range(iterations):
            await asyncio.sleep(0)
        is_cancelled = watching.cancel()
        await asyncio.wait([watching], timeout=PATIENCE_SECONDS)
        assert not is_cancelled or watching.cancelled(), f"after {iterations} iterations: {watching!r}"
    assert received


async def test_a_subscription_that_is_cancelled_with_a_pong_ends(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """gql waits for the pong in a task of its own, and for the end of this task."""
    monkeypatch.setattr(connection, "_PING_SECONDS", 0.05)
    monkeypatch.setattr(connection, "_CLOSE_SECONDS", 0.1)
    pongs = asyncio.Queue[None]()
    send_json = web.WebSocketResponse.send_json

    async def record_pongs(socket: web.WebSocketResponse, values: dict[str, Any]) -> None:
        if values["type"] == "pong":
            pongs.put_nowait(None)
        await send_json(socket, values)

    monkeypatch.setattr(web.WebSocketResponse, "send_json", record_pongs)
    server = Connection(f"{url}/stays-open", Credentials("key", None))

    async def watch() -> None:
        async for _ in server.subscribe(operations.WATCH, {"after": None}):
            pass

    for iterations in range(8):
        watching = asyncio.create_task(watch())
        async with asyncio.timeout(PATIENCE_SECONDS):
            await pongs.get()
        for _ in range(iterations):
            await asyncio.sleep(0)
        watching.cancel()
        await asyncio.wait([watching], timeout=PATIENCE_SECONDS)
        assert watching.cancelled(), f"after {iterations} iterations: {watching!r}"


async def test_a_server_that_does_not_acknowledge_is_unreachable(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the reason."""
    monkeypatch.setattr(connection, "_CONNECT_SECONDS", 0.1)
    silent = Connection(f"{url}/is-silent", Credentials("key", None))
    with pytest.raises(Unreachable, match="is-silent did not respond in time"):
        await anext(silent.subscribe(operations.WATCH, {"after": None}))
