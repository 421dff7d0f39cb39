"""A subscriber over a WebSocket: it subscribes to results, submits samples and receives the results."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any
from weakref import WeakKeyDictionary

import anyio
import httpx
from websockets.asyncio.client import ClientConnection, connect

from tests.stack import Stack

WATCH = (
    "subscription ($filter: ResultFilter, $after: String) "
    "{ results(filter: $filter, after: $after) { cursor node { id count } } }"
)
UNKNOWN_SAMPLE = 'subscription { sample(id: "00000000-0000-4000-8000-000000000000") { id } }'


@contextlib.asynccontextmanager
async def watching(stack: Stack, key: str) -> AsyncIterator[ClientConnection]:
    """Open an initialized WebSocket."""
    uri = stack.url.replace("http", "ws") + "/graphql"
    async with connect(uri, subprotocols=["graphql-transport-ws"]) as socket:  # type: ignore[list-item]
        await socket.send(json.dumps({"type": "connection_init", "payload": {"authorization": f"Bearer {key}"}}))
        assert json.loads(await socket.recv())["type"] == "connection_ack"
        yield socket


def first_events(stack: Stack, key: str, query: str, variables: dict[str, Any], count: int) -> list[Any]:
    """Subscribe over Server-Sent Events, and return the data of the first events."""
    body, headers = {"query": query, "variables": variables}, {"x-api-key": key, "accept": "text/event-stream"}
    received: list[Any] = []
    with httpx.stream("POST", f"{stack.url}/graphql", json=body, headers=headers, timeout=60) as response:
        for line in response.iter_lines():
            if line.startswith("data: {"):
                received.append(json.loads(line[6:])["data"])
            if len(received) == count:
                break
    return received


_early: WeakKeyDictionary[ClientConnection, list[dict[str, Any]]] = WeakKeyDictionary()
"""Messages of subscriptions that arrived before `subscribe` returned."""


async def subscribe(socket: ClientConnection, query: str, **variables: Any) -> None:
    """Subscribe, and wait until the server has started the subscription.

    A subscription without a cursor starts at the time that the server reads from Firestore. A later subscription to an
    unknown sample waits for the same read, and then fails.
    """
    await socket.send(
        json.dumps({"id": "watch", "type": "subscribe", "payload": {"query": query, "variables": variables}})
    )
    await socket.send(json.dumps({"id": "probe", "type": "subscribe", "payload": {"query": UNKNOWN_SAMPLE}}))
    early = _early.setdefault(socket, [])
    while (message := json.loads(await socket.recv())).get("id") != "probe":
        if message.get("id") == "watch":
            early.append(message)


async def following(socket: ClientConnection) -> AsyncIterator[dict[str, Any]]:
    """Yield the messages of the subscription, including the one that ends it."""
    early = _early.get(socket, [])
    while early:
        yield early.pop(0)
    async for text in socket:
        message = json.loads(text)
        if message["type"] == "ping":
            await socket.send(json.dumps({"type": "pong"}))
        elif message.get("id") == "watch":
            yield message


async def submit(stack: Stack, key: str, count: int = 1) -> str:
    """Submit a sample of `count` values in another thread, because this one serves the socket."""
    sample = {"time_stamp": "2020-01-01T00:00:00Z", "data": [1.0] * count}
    receipt = await anyio.to_thread.run_sync(lambda: stack.submit(sample, key=key))
    return str(receipt["id"])


async def receive(socket: ClientConnection, count: int) -> list[dict[str, Any]]:
    """Return the next `count` results with their cursors."""
    received: list[dict[str, Any]] = []
    async for message in following(socket):
        assert message["type"] == "next", message
        received.append(message["payload"]["data"]["results"])
        if len(received) == count:
            break
    return received
