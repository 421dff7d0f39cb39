"""Clients that subscribe to all results over each transport, and disconnect and reconnect at random times.

A client stores the results in the order of arrival and its last cursor. It needs no more to resume.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from itertools import cycle
from typing import Any

import aiohttp
import orjson

QUERY = "subscription ($after: String!) { results(after: $after) { cursor node { id } } }"
TRANSPORTS = ("graphql-transport-ws", "text/event-stream")
MAX_LINE_BYTES = 1 << 20


class Subscriber:
    """One client. It is finished when it has as many results as exist, a number that is known at the end."""

    def __init__(self, url: str, key: str, transport: str, start: str, chance: random.Random) -> None:
        self._url = url
        self._headers = {"x-api-key": key}
        self._transport = transport
        self._chance = chance
        self.cursor = start
        self.received: list[str] = []
        self.cursors: list[str] = []
        self.connections = 0
        self.errors: list[str] = []

    async def run(self, session: aiohttp.ClientSession, total: "asyncio.Future[int]", max_seconds: float) -> None:
        """Connect and disconnect until all results have arrived. A connection lasts up to `max_seconds`."""
        while not (total.done() and len(self.received) >= total.result()):
            self.connections += 1
            # A client that has all results receives no more messages, so each connection has a time limit.
            seconds = self._chance.uniform(0, max_seconds)
            try:
                async with asyncio.timeout(seconds), aclosing(self._edges(session)) as edges:
                    async for edge in edges:
                        self.cursor = edge["cursor"]
                        self.cursors.append(edge["cursor"])
                        self.received.append(edge["node"]["id"])
                        if total.done() and len(self.received) >= total.result():
                            return
            except (TimeoutError, aiohttp.ClientError, OSError):
                pass
            await asyncio.sleep(self._chance.uniform(0, max_seconds / 4))

    async def _edges(self, session: aiohttp.ClientSession) -> AsyncGenerator[Any, None]:
        messages = self._socket(session) if self._transport == TRANSPORTS[0] else self._stream(session)
        async with aclosing(messages):
            async for payload in messages:
                if "errors" not in payload:
                    yield payload["data"]["results"]
                elif payload["errors"][0]["extensions"]["code"] == "UNAVAILABLE":
                    return  # Firestore restarts
                else:
                    self.errors.append(str(payload["errors"]))

    async def _socket(self, session: aiohttp.ClientSession) -> AsyncGenerator[Any, None]:
        url = self._url.replace("http", "ws", 1)
        async with session.ws_connect(url, protocols=[TRANSPORTS[0]], max_msg_size=MAX_LINE_BYTES) as socket:
            await socket.send_json({"type": "connection_init", "payload": self._headers})
            request = {"query": QUERY, "variables": {"after": self.cursor}}
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return
                frame = orjson.loads(message.data)
                match frame["type"]:
                    case "connection_ack":
                        await socket.send_json({"type": "subscribe", "id": "1", "payload": request})
                    case "next":
                        yield frame["payload"]
                    case "error":
                        yield {"errors": frame["payload"]}
                    case "ping":
                        await socket.send_json({"type": "pong"})

    async def _stream(self, session: aiohttp.ClientSession) -> AsyncGenerator[Any, None]:
        headers = {**self._headers, "accept": self._transport}
        request = {"query": QUERY, "variables": {"after": self.cursor}}
        async with session.post(self._url, json=request, headers=headers) as response:
            async for line in response.content:
                if line.startswith(b"data: {"):
                    yield orjson.loads(line[6:])


def subscribers(count: int, url: str, key: str, start: str, chance: random.Random) -> Iterator[Subscriber]:
    """Create `count` subscribers that start after the cursor `start`, with the transports in turn."""
    for _, transport in zip(range(count), cycle(TRANSPORTS), strict=False):
        yield Subscriber(url, key, transport, start, random.Random(chance.random()))
