"""Large messages and bodies of which everything but the last byte is sent first, and then all last bytes at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

from tests.attack.registry import add
from tests.attack.target import JSON, Streams, Target, frame

_TEXT = 1
_RECEIVED_SECONDS = 1.0
"""The time in which the server receives everything but the last bytes."""

Open = Callable[[Target, AsyncExitStack], Awaitable[Streams]]


async def last_bytes(connections: int, open_one: Open, message: Callable[[Target], bytes], target: Target) -> None:
    """Send a message over each of many connections, and all last bytes at the same time."""
    ends_at = asyncio.get_running_loop().time() + target.seconds
    while asyncio.get_running_loop().time() < ends_at:
        async with AsyncExitStack() as opened:
            streams: Sequence[Streams] = [await open_one(target, opened) for _ in range(connections)]
            data = message(target)
            for _, writer in streams:
                writer.write(data[:-1])
            await asyncio.gather(*(writer.drain() for _, writer in streams), return_exceptions=True)
            await asyncio.sleep(_RECEIVED_SECONDS)
            for _, writer in streams:
                writer.write(data[-1:])
            await asyncio.sleep(_RECEIVED_SECONDS)


async def _connection(target: Target, opened: AsyncExitStack) -> Streams:
    return await opened.enter_async_context(target.connection())


async def _websocket(target: Target, opened: AsyncExitStack) -> Streams:
    return await opened.enter_async_context(target.websocket(init=True))


def _operation(text: bytes, _: Target) -> bytes:
    payload = b'{"query":"{ __typename }","variables":{"a":"%b"}}' % text
    return frame(_TEXT, b'{"type":"subscribe","id":"1","payload":%b}' % payload)


def _request(text: bytes, target: Target) -> bytes:
    body = b'{"query":"{ __typename }","variables":{"a":"%b"}}' % text
    return target.head("/graphql", f"content-type: {JSON}", f"content-length: {len(body)}") + body


for _name, _letter in (("ascii", b"x"), ("other", "é".encode())):
    _message = _letter * (1_000_000 // len(_letter))
    _body = _letter * (9_000_000 // len(_letter))
    _messages = partial(last_bytes, 100, _websocket, partial(_operation, _message))
    add(f"last_bytes_of_100_messages_of_{_name}", _messages, is_short=_name == "other")
    add(f"last_bytes_of_12_bodies_of_{_name}", partial(last_bytes, 12, _connection, partial(_request, _body)))
