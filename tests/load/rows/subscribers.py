"""Thousands of subscribers on one API process: the time until the last has a result, and the memory per subscriber.

The clients count deliveries in the received bytes and parse nothing, because they share processors with the measured
process. Half of them use WebSockets, half Server-Sent Events.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from functools import partial
from uuid import uuid4

from google.cloud.firestore import SERVER_TIMESTAMP

from tests.load import machine
from tests.load.plan import Plan, attempt, median
from tests.load.process import Busy, Failed
from tests.load.table import Figure, Row
from tests.load.whole_stack import WholeStack, whole_stack

SUBSCRIBERS = 2_000
CONNECTING_AT_ONCE = 50
BURST = 20
DELIVERY = b'"cursor":'
PATIENCE_SECONDS = 60.0
WATCH = "subscription ($after: String!) { results(after: $after) { cursor node { id mean count } } }"
LATEST = "{ results(orderBy: {field: COMPUTED_AT, direction: DESC}, first: 2) { edges { cursor node { id } } } }"


def subscribers(plan: Plan) -> Iterator[Row]:
    """Measure the delivery of results to many subscribers."""
    with whole_stack(plan) as stack:
        yield from attempt(f"{SUBSCRIBERS:,} subscribers", partial(_rows, plan, stack))


def _rows(plan: Plan, stack: WholeStack) -> Iterator[Row]:
    for _ in range(2):
        stack.pass_one()
    after = stack.stack.graphql(LATEST)["results"]["edges"][-1]["cursor"]
    yield from asyncio.run(_watched(plan, stack, after))


async def _watched(plan: Plan, stack: WholeStack, after: str) -> list[Row]:
    before = machine.resident_bytes(stack.api)
    crowd = _Crowd(stack, after)
    try:
        await crowd.come()
        each = (machine.resident_bytes(stack.api) - before) / SUBSCRIBERS
        alone = [await _deliver(stack, crowd, 1) for _ in range(plan.runs * 2)]
        busy = Busy(stack.api)
        bursts = [await _deliver(stack, crowd, BURST) for _ in range(plan.runs)]
        share = f"API {busy.share():.0%}"
    finally:
        crowd.go()
    what = f"{SUBSCRIBERS:,} subscribers of one API process"
    rate = SUBSCRIBERS * BURST / median(bursts, by=float)
    return [
        Row(f"{what}: memory of each", Figure(each / 1024, "KiB", more_is_better=False)),
        Row(
            f"{what}: from commit to the last delivery",
            Figure(median(alone, by=float) * 1000, "ms", f"at most {max(alone) * 1000:.0f}", more_is_better=False),
        ),
        Row(f"{what}: {BURST} results in one commit", Figure(rate, "deliveries/s", share)),
    ]


async def _deliver(stack: WholeStack, crowd: "_Crowd", count: int) -> float:
    """Write results in one commit, as the function does. Return the seconds from the commit to the last delivery."""
    results = stack.database.collection("submitters/local/results")
    (template,) = results.limit(1).get()
    batch = stack.database.batch()
    for _ in range(count):
        batch.set(results.document(str(uuid4())), {**template.to_dict(), "computed_at": SERVER_TIMESTAMP})
    expected = crowd.expect(count)
    await asyncio.to_thread(batch.commit)
    async with asyncio.timeout(PATIENCE_SECONDS):
        last = await expected
    return last - float(batch.commit_time.timestamp())


class _Crowd:
    """All subscribers and the number of their deliveries."""

    def __init__(self, stack: WholeStack, after: str) -> None:
        self._port = stack.stack.api_port
        self._key = stack.stack.key
        self._payload = {"query": WATCH, "variables": {"after": after}}
        self._members: list[_Subscriber] = []
        self._left = 0
        self._done: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def come(self) -> None:
        """Connect all subscribers and wait until each has the result that exists already."""
        loop = asyncio.get_running_loop()
        expected = self.expect(1)
        for start in range(0, SUBSCRIBERS, CONNECTING_AT_ONCE):
            kinds = [_EventStream if (start + number) % 2 else _WebSocket for number in range(CONNECTING_AT_ONCE)]
            made = [
                loop.create_connection(partial(kind, self, self._key, self._payload), "127.0.0.1", self._port)
                for kind in kinds
            ]
            self._members += [member for _, member in await asyncio.gather(*made)]
        async with asyncio.timeout(PATIENCE_SECONDS):
            await expected

    def expect(self, count: int) -> asyncio.Future[float]:
        """Return a future for the time at which each subscriber has that many more results."""
        self._left += SUBSCRIBERS * count
        self._done = asyncio.get_running_loop().create_future()
        return self._done

    def delivered(self, count: int) -> None:
        """Count deliveries to one subscriber."""
        self._left -= count
        if not self._left and not self._done.done():
            self._done.set_result(time.time())

    def lost(self, why: bytes) -> None:
        """Fail: no subscriber may be disconnected."""
        if not self._done.done():
            self._done.set_exception(Failed(f"a subscriber was disconnected: {why[:200]!r}"))

    def go(self) -> None:
        """Disconnect all subscribers."""
        for member in self._members:
            member.leave()


class _Subscriber(asyncio.Protocol):
    def __init__(self, crowd: _Crowd, key: str, payload: object) -> None:
        self._crowd = crowd
        self._key = key
        self._payload = payload
        self._rest = b""
        self._left = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self.opening())

    def data_received(self, data: bytes) -> None:
        received = self._rest + data
        self._rest = received[1 - len(DELIVERY) :]
        if count := received.count(DELIVERY):
            self._crowd.delivered(count)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._left:
            self._crowd.lost(self._rest or str(exc).encode())

    def leave(self) -> None:
        self._left = True
        self._transport.abort()

    def opening(self) -> bytes:
        raise NotImplementedError


class _EventStream(_Subscriber):
    def opening(self) -> bytes:
        body = json.dumps(self._payload).encode()
        head = (
            f"POST /graphql HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {self._key}\r\naccept: text/event-stream\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


class _WebSocket(_Subscriber):
    def opening(self) -> bytes:
        return (
            b"GET /graphql HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
            b"sec-websocket-protocol: graphql-transport-ws\r\n\r\n"
        )

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 101"):
            self._tell({"type": "connection_init", "payload": {"x-api-key": self._key}})
            self._tell({"type": "subscribe", "id": "1", "payload": self._payload})
        elif data[:1] == b"\x89":  # respond to a ping with a pong
            self._transport.write(_frame(10, data[2 : 2 + data[1]]))
        super().data_received(data)

    def _tell(self, message: object) -> None:
        self._transport.write(_frame(1, json.dumps(message).encode()))


def _frame(opcode: int, content: bytes) -> bytes:
    """Return a complete client frame, masked with zeros."""
    size = len(content)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + bytes(4) + content
