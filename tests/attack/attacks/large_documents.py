"""Reads of large raw documents, over each protocol."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

import numpy as np
import orjson
import zstandard

from tests.attack.registry import add, attack
from tests.attack.target import JSON, Target, frame, repeat

_CONNECTIONS = 64

Start = Callable[[Target, AsyncExitStack, str], Awaitable[asyncio.StreamReader]]
"""Starts to read the sample with this id over a new connection."""


async def _submit(target: Target) -> str:
    """Submit a sample of 20 MB. Return its id."""
    values = np.random.default_rng(1).normal(size=1_000_000).tolist()
    body = zstandard.compress(orjson.dumps({"time_stamp": "2019-05-01T06:00:00Z", "data": values}), 1)
    async with target.client(timeout=60) as client:
        response = await client.post("/samples", content=body, headers={"content-encoding": "zstd"})
        return str(response.json()["id"])


def _query(field: str, sample_id: str) -> bytes:
    return json.dumps({"query": f'{{ sample(id: "{sample_id}") {{ {field} }} }}'}).encode()


async def _over_http(field: str, target: Target, opened: AsyncExitStack, sample_id: str) -> asyncio.StreamReader:
    reader, writer = await opened.enter_async_context(target.connection())
    body = _query(field, sample_id)
    writer.write(target.head("/graphql", f"content-type: {JSON}", f"content-length: {len(body)}") + body)
    return reader


async def _over_a_websocket(target: Target, opened: AsyncExitStack, sample_id: str) -> asyncio.StreamReader:
    reader, writer = await opened.enter_async_context(target.websocket(init=True))
    writer.write(frame(1, b'{"type":"subscribe","id":"1","payload":%b}' % _query("raw", sample_id)))
    return reader


async def _as_an_event(target: Target, opened: AsyncExitStack, sample_id: str) -> asyncio.StreamReader:
    reader, writer = await opened.enter_async_context(target.connection())
    body = _query("raw", sample_id)
    head = target.head("/graphql", f"content-type: {JSON}", "accept: text/event-stream", f"content-length: {len(body)}")
    writer.write(head + body)
    return reader


async def _over_plain_http(target: Target, opened: AsyncExitStack, sample_id: str) -> asyncio.StreamReader:
    reader, writer = await opened.enter_async_context(target.connection())
    writer.write(target.head(f"/samples/{sample_id}", method="GET"))
    return reader


async def read_in_part(start: Start, target: Target) -> None:
    """Read the first 64 KiB of a large document over 64 connections, again and again."""
    sample_id = await _submit(target)

    async def act() -> None:
        async with AsyncExitStack() as opened, asyncio.timeout(30):
            reader = await start(target, opened, sample_id)
            await reader.read(2**16)

    await repeat(target, _CONNECTIONS, act)


async def do_not_read(start: Start, target: Target) -> None:
    """Request a large document over 64 connections, and read nothing."""
    sample_id = await _submit(target)
    async with AsyncExitStack() as opened:
        for _ in range(_CONNECTIONS):
            await start(target, opened, sample_id)
        await asyncio.sleep(target.seconds)


_STARTS: dict[str, Start] = {
    "raw": partial(_over_http, "raw"),
    "data": partial(_over_http, "data"),
    "data_in_part": partial(_over_http, "data(first: 1000)"),
    "over_websockets": _over_a_websocket,
    "as_events": _as_an_event,
    "over_plain_http": _over_plain_http,
}
for _name, _start in _STARTS.items():
    add(f"large_documents_{_name}", partial(read_in_part, _start), is_short=_name == "data")
    add(f"large_documents_{_name}_unread", partial(do_not_read, _start))


@attack()
async def large_documents_started_and_completed(target: Target) -> None:
    """Start to read a large document over 64 WebSockets, and complete each operation while it reads."""
    sample_id = await _submit(target)

    async def act() -> None:
        async with target.websocket(init=True) as (_, writer):
            while True:
                for field in ("data", "raw", "data(first: 10)"):
                    payload = _query(field, sample_id)
                    writer.write(frame(1, b'{"type":"subscribe","id":"1","payload":%b}' % payload))
                    await writer.drain()
                    await asyncio.sleep(0.3)
                    writer.write(frame(1, b'{"type":"complete","id":"1"}'))

    await repeat(target, _CONNECTIONS, act)
