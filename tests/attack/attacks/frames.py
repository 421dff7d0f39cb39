"""Small WebSocket frames, before and after `connection_init`."""

import asyncio
import contextlib
from contextlib import AsyncExitStack
from functools import partial

from tests.attack.registry import add, attack
from tests.attack.target import Target, frame, send

_FLOOD_BYTES = 11 * 2**20
_TEXT, _CONTINUATION, _BINARY, _CLOSE, _PING, _PONG = 1, 0, 2, 8, 9, 10
_FRAMES = {
    "pings": frame(_PING),
    "pings_with_payload": frame(_PING, b"x" * 125),
    "pongs": frame(_PONG),
    "continuations": frame(_CONTINUATION, is_final=False),
    "empty_texts": frame(_TEXT),
    "empty_binaries": frame(_BINARY),
    "ping_messages": frame(_TEXT, b'{"type":"ping"}'),
    "pong_messages": frame(_TEXT, b'{"type":"pong"}'),
    "complete_messages": frame(_TEXT, b'{"type":"complete","id":"1"}'),
    "closes": frame(_CLOSE),
}


async def flood(data: bytes, is_first_text: bool, init: bool, target: Target) -> None:
    """Send many small frames over one WebSocket."""
    first = frame(_TEXT, b"{", is_final=False) if is_first_text else b""
    async with target.websocket(init=init) as streams:
        await send(streams, first + data * (_FLOOD_BYTES // len(data)), target.seconds)


for _name, _data in _FRAMES.items():
    for _init in (False, True):
        add(
            f"frames_{_name}_{'after' if _init else 'before'}_init",
            partial(flood, _data, _name == "continuations", _init),
            is_short=_name == "pings" and not _init,
        )


@attack()
async def pings_of_100_sockets(target: Target) -> None:
    """Send small pings over 100 authenticated WebSockets at the same time."""
    async with AsyncExitStack() as opened:
        sockets = [await opened.enter_async_context(target.websocket(init=True)) for _ in range(100)]
        data = frame(_PING) * 50_000
        await asyncio.gather(*(send(streams, data, target.seconds) for streams in sockets))


@attack()
async def large_pings_unread(target: Target) -> None:
    """Send ping messages of 1 MB over 900 authenticated WebSockets, and read no pong."""
    ping = frame(_TEXT, b'{"type":"ping","payload":{"a":"%b"}}' % (b"x" * 1_000_000))
    async with AsyncExitStack() as opened:

        async def send_pings() -> None:
            _, writer = await opened.enter_async_context(target.websocket(init=True))
            writer.write(ping * 3)

        for _ in range(90):  # the API can refuse WebSockets while it has too little memory
            await asyncio.gather(*(send_pings() for _ in range(10)), return_exceptions=True)
        await asyncio.sleep(target.seconds)


@attack()
async def sockets_without_init(target: Target) -> None:
    """Open 2,000 WebSockets and never authenticate them."""
    async with AsyncExitStack() as opened:
        for _ in range(20):
            await asyncio.gather(
                *(opened.enter_async_context(target.websocket(init=False)) for _ in range(100)),
                return_exceptions=True,
            )
        await asyncio.sleep(target.seconds)


@attack()
async def operations_started_and_completed(target: Target) -> None:
    """Start and complete a subscription 40,000 times over one WebSocket."""
    start = b'{"type":"subscribe","id":"%d","payload":{"query":"subscription { results { cursor } }"}}'
    data = b"".join(
        frame(_TEXT, start % number) + frame(_TEXT, b'{"type":"complete","id":"%d"}' % number)
        for number in range(40_000)
    )
    async with target.websocket(init=True) as streams:
        await send(streams, data, target.seconds)


async def large_messages(number: int, operations: int, size: int, target: Target) -> None:
    """Start operations with variables of `size` bytes over many WebSockets at the same time, and read nothing."""
    payload = b'{"query":"subscription { results { cursor } }","variables":{"a":"%b"}}' % (b"x" * size)
    data = b"".join(
        frame(_TEXT, b'{"type":"subscribe","id":"%d","payload":%b}' % (each, payload)) for each in range(operations)
    )
    async with AsyncExitStack() as opened:
        for _ in range(number):
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                _, writer = await opened.enter_async_context(target.websocket(init=True))
                writer.write(data)
        await asyncio.sleep(target.seconds)


add("messages_of_4_kb_of_1000_websockets", partial(large_messages, 1_000, 100, 3_800))
add("messages_of_900_kb_of_900_websockets", partial(large_messages, 900, 1, 900_000))
add("messages_of_60_kb_of_400_websockets", partial(large_messages, 400, 100, 60_000))


@attack()
async def replays_that_end_together(target: Target) -> None:
    """Start 100 subscriptions that read stored results over each of 20 WebSockets, and close all WebSockets at once."""
    query = b'{"query":"subscription { results(after: \\"\\") { cursor } }"}'
    data = b"".join(frame(_TEXT, b'{"type":"subscribe","id":"%d","payload":%b}' % (each, query)) for each in range(100))
    await target.fill(1_000)
    ends_at = asyncio.get_running_loop().time() + target.seconds
    while asyncio.get_running_loop().time() < ends_at:
        async with AsyncExitStack() as opened:
            for _ in range(20):
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    _, writer = await opened.enter_async_context(target.websocket(init=True))
                    writer.write(data)
            await asyncio.sleep(1)
