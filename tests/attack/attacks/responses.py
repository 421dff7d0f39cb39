"""Large responses that clients do not read. Each selects the same small document hundreds of times."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

from tests.attack.registry import add
from tests.attack.target import JSON, Target, frame, repeat

_NOTE = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1], "note": "%b"}' % (b"a" * 60_000)
_COPIES = " ".join(f"a{number}: raw" for number in range(320))
_SAMPLE = f"query ($id: ID!) {{ sample(id: $id) {{ {_COPIES} }} }}"
_EVENTS = f"subscription {{ results {{ node {{ sample {{ {_COPIES} }} }} }} }}"

Start = Callable[[Target, AsyncExitStack, str], Awaitable[asyncio.StreamReader]]
"""Requests copies of the sample with this id over a new connection."""


async def _submit(target: Target) -> str:
    async with target.client() as client:
        return str((await client.post("/samples", content=_NOTE)).json()["id"])


async def _over_http(target: Target, opened: AsyncExitStack, sample_id: str) -> asyncio.StreamReader:
    reader, writer = await opened.enter_async_context(target.connection())
    body = json.dumps({"query": _SAMPLE, "variables": {"id": sample_id}}).encode()
    writer.write(target.head("/graphql", f"content-type: {JSON}", f"content-length: {len(body)}") + body)
    return reader


async def _as_an_event(target: Target, opened: AsyncExitStack, sample_id: str) -> asyncio.StreamReader:
    reader, writer = await opened.enter_async_context(target.connection())
    writer.write(target.event_stream(_SAMPLE, id=sample_id))
    return reader


async def _over_a_websocket(target: Target, opened: AsyncExitStack, sample_id: str) -> asyncio.StreamReader:
    reader, writer = await opened.enter_async_context(target.websocket(init=True))
    payload = {"query": _SAMPLE, "variables": {"id": sample_id}}
    for number in range(10):
        message = {"type": "subscribe", "id": str(number), "payload": payload}
        writer.write(frame(1, json.dumps(message).encode()))
    return reader


async def do_not_read(start: Start, target: Target) -> None:
    """Request responses of 20 MB over 64 connections, and read nothing."""
    sample_id = await _submit(target)
    async with AsyncExitStack() as opened:
        for _ in range(64):
            await start(target, opened, sample_id)
        await asyncio.sleep(target.seconds)


async def read_in_part(target: Target) -> None:
    """Request responses of 20 MB over 32 connections, and disconnect after the first 64 KiB."""
    sample_id = await _submit(target)

    async def act() -> None:
        async with AsyncExitStack() as opened, asyncio.timeout(30):
            reader = await _over_http(target, opened, sample_id)
            await reader.read(2**16)

    await repeat(target, 32, act)


async def copies_of_a_large_document(field: str, target: Target) -> None:
    """Request a document of 4 MB 320 times in one response, over 4 connections."""
    values = b"1.5, " * 800_000
    query = f"query ($id: ID!) {{ sample(id: $id) {{ {_COPIES.replace('raw', field)} }} }}"
    async with target.client(4) as client:
        response = await client.post("/samples", content=_NOTE.replace(b"[1]", b"[%b1]" % values))
        request = {"query": query, "variables": {"id": response.json()["id"]}}
        await repeat(target, 4, lambda: client.post("/graphql", json=request))


async def events(target: Target) -> None:
    """Open 200 event streams with events of 20 MB, submit samples, and read nothing."""
    async with AsyncExitStack() as opened:
        for _ in range(200):
            _, writer = await opened.enter_async_context(target.connection())
            writer.write(target.event_stream(_EVENTS))
        await asyncio.sleep(1)
        for _ in range(int(target.seconds)):
            await _submit(target)
            await asyncio.sleep(1)


add("copies_unread", partial(do_not_read, _over_http), is_short=True)
add("copies_as_events_unread", partial(do_not_read, _as_an_event))
add("copies_over_websockets_unread", partial(do_not_read, _over_a_websocket))
add("copies_read_in_part", read_in_part)
for _field in ("raw", "data"):
    add(f"copies_of_a_large_document_{_field}", partial(copies_of_a_large_document, _field), is_short=_field == "raw")
add("copies_in_subscriptions_unread", events)
