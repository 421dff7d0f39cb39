"""A stream continues after the server or the client has ended a subscription.

The server is a stand-in that runs in the event loop of the test.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from dropzone import AsyncClient, ResultEdge
from dropzone.transport import connection
from graphql_api.errors import TooSlow
from graphql_api.graphql_server.protocols.transport_ws_messages import too_slow
from tests.aiohttp_server import serving

TIME = "2026-05-01T00:00:00Z"
RESULTS, TEXT_BYTES = 1_500, 40_000  # more than the buffers of a connection
STALLED_ITERATIONS = 200
"""If the server sends nothing during this number of iterations of the event loop, the client does not read."""

Send = Callable[[web.WebSocketResponse, str, int], Awaitable[None]]
"""Sends events on a WebSocket, for the subscription with this id, after the cursor with this number."""


@asynccontextmanager
async def client_of(send: Send) -> AsyncIterator[AsyncClient]:
    """Yield a client of a server that answers each subscription with `send`."""

    async def ping(request: web.Request) -> web.Response:
        del request
        return web.json_response({"data": {"__typename": "Query"}})

    async def subscribe(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=["graphql-transport-ws"])
        await socket.prepare(request)
        async for message in socket:
            values = message.json()
            if values["type"] == "connection_init":
                await socket.send_json({"type": "connection_ack"})
            elif values["type"] == "subscribe":
                await send(socket, values["id"], int(values["payload"]["variables"]["after"]))
        return socket

    app = web.Application()
    app.router.add_post("/graphql", ping)
    app.router.add_get("/graphql", subscribe)
    async with serving(app, shutdown_timeout=0.1) as url, AsyncClient(url, "key") as client:
        yield client


def event(operation_id: str, cursor: int, text: str = "") -> dict[str, Any]:
    """Return the message with the result that has this cursor, and `text` as a label."""
    times = {"timestamp": TIME, "computedAt": TIME, "firstComputedAt": TIME}
    node = {"id": f"result {cursor}", "labels": [{"name": "text", "value": text}], **times}
    edge = {"cursor": str(cursor), "node": node}
    return {"type": "next", "id": operation_id, "payload": {"data": {"edge": edge}}}


async def test_a_stream_resumes_after_it_was_too_slow(caplog: pytest.LogCaptureFixture) -> None:
    """The server ends the subscription of a suspended program. The stream subscribes again with its last cursor."""
    caplog.set_level(logging.WARNING, "dropzone")

    async def send(socket: web.WebSocketResponse, operation_id: str, after: int) -> None:
        await socket.send_json(event(operation_id, after + 1))
        await socket.send_str(too_slow(operation_id, TooSlow(str(after + 1))).decode())
        await socket.close(code=4490)

    cursors: list[str] = []
    async with client_of(send) as client, aclosing(client.watch(after="0")) as edges:
        async for edge in edges:
            cursors.append(edge.cursor)
            if len(cursors) == 3:
                break

    assert cursors == ["1", "2", "3"]
    assert "too slowly" in caplog.text


async def test_a_paused_program_does_not_receive_all_results_in_advance() -> None:
    """They would fill its memory. When the program continues, it gets them all, in order and without a reconnect."""
    sent: list[int] = []

    async def send(socket: web.WebSocketResponse, operation_id: str, after: int) -> None:
        for cursor in range(after + 1, RESULTS + 1):
            await socket.send_json(event(operation_id, cursor, "x" * TEXT_BYTES))
            sent.append(cursor)

    async with client_of(send) as client, aclosing(client.watch(after="0")) as edges:
        cursors = [(await anext(edges)).cursor]
        count = -1
        while count != len(sent):
            count = len(sent)
            for _ in range(STALLED_ITERATIONS):
                await asyncio.sleep(0)
        while len(cursors) < RESULTS:
            cursors.append((await anext(edges)).cursor)

    assert count < RESULTS
    assert cursors == list(map(str, range(1, RESULTS + 1)))
    assert sent == list(range(1, RESULTS + 1))


async def test_a_pong_that_follows_many_items_does_not_end_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a program reads slowly, megabytes of items are before the pong. This server sends no pong at all."""
    monkeypatch.setattr(connection, "_PING_SECONDS", 1.0)
    monkeypatch.setattr(connection, "_MAX_UNREAD_ITEMS", 1)
    starts: list[int] = []

    async def send(socket: web.WebSocketResponse, operation_id: str, after: int) -> None:
        starts.append(after)
        for cursor in range(after + 1, after + 150):
            await socket.send_json(event(operation_id, cursor))
            await asyncio.sleep(0.02)  # 3 s in total: pings that are not answered end a connection after 2 s

    async with client_of(send) as client, aclosing(client.watch(after="0")) as edges:
        cursors = [edge.cursor async for edge in _first(edges, 149)]

    assert cursors == [str(cursor) for cursor in range(1, 150)]
    assert starts == [0]


async def _first(edges: AsyncIterator[ResultEdge], number: int) -> AsyncIterator[ResultEdge]:
    for _ in range(number):
        yield await anext(edges)
