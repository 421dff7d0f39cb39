"""Many requests of one kind, each of which ends early. The memory that each of them leaves adds up."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import httpx

from tests.attack.registry import add
from tests.attack.target import JSON, NDJSON, SAMPLE, Target, frame, repeat

_WATCH = "subscription { results { cursor node { id } } }"
_UNKNOWN = "00000000-0000-4000-8000-000000000000"
_NUMBERS = iter(range(10**9))

Act = Callable[[Target, httpx.AsyncClient], Awaitable[object]]


async def _query(query: str, target: Target, client: httpx.AsyncClient) -> None:
    del target
    await client.post("/graphql", json={"query": query})


async def _post(path: str, body: bytes, content_type: str, target: Target, client: httpx.AsyncClient) -> None:
    del target
    await client.post(path, content=body, headers={"content-type": content_type})


async def _abandoned(method: str, path: str, body: bytes, target: Target, client: httpx.AsyncClient) -> None:
    """Send a request and reset the connection before the response."""
    del client
    async with target.connection() as (_, writer):
        writer.write(target.head(path, f"content-type: {JSON}", f"content-length: {len(body)}", method=method) + body)
        await writer.drain()


async def _abandoned_document(target: Target, client: httpx.AsyncClient) -> None:
    """Send a long document that no other request has, and reset the connection before the response."""
    fields = " ".join(f"a{next(_NUMBERS)}: __typename" for _ in range(340))
    await _abandoned("POST", "/graphql", b'{"query": "{ %b }"}' % fields.encode(), target, client)


async def _abandoned_stream(target: Target, client: httpx.AsyncClient) -> None:
    """Start an event stream and reset the connection after its headers."""
    del client
    async with target.connection() as (reader, writer):
        writer.write(target.event_stream(_WATCH))
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)


async def _abandoned_websocket(is_subscribed: bool, target: Target, client: httpx.AsyncClient) -> None:
    del client
    async with asyncio.timeout(5), target.websocket(init=True) as (reader, writer):
        if is_subscribed:
            message = b'{"type":"subscribe","id":"1","payload":{"query":"%s"}}' % _WATCH.encode()
            writer.write(frame(1, message) + frame(1, b'{"type":"ping"}'))
            await reader.readuntil(b"pong")


async def _refused_websocket(target: Target, client: httpx.AsyncClient) -> None:
    """Open a WebSocket with a message that is not JSON."""
    del client
    async with asyncio.timeout(5), target.websocket(init=False) as (reader, writer):
        writer.write(frame(1, b"{"))
        await reader.read()


async def _half_a_line(target: Target, client: httpx.AsyncClient) -> None:
    """Stream a few lines and a half one, then reset the connection."""
    del client
    async with target.connection() as (_, writer):
        writer.write(target.head("/samples", f"content-type: {NDJSON}", "content-length: 1000000"))
        writer.write((SAMPLE + b"\n") * 20 + SAMPLE[:20])
        await writer.drain()
        await asyncio.sleep(0.01)


_ROUNDS: dict[str, Act] = {
    "field_errors": partial(_query, "{ " + " ".join(f'a{n}: result(id: "{n}") {{ id }}' for n in range(100)) + " }"),
    "missing_samples": partial(_query, f'{{ sample(id: "{_UNKNOWN}") {{ id }} result(id: "{_UNKNOWN}") {{ id }} }}'),
    "forbidden_mutations": partial(_query, "mutation { recompute { id } }"),
    "syntax_errors": partial(_query, "{ " * 500),
    "wrong_variables": partial(_post, "/graphql", b'{"query": "{ __typename }", "variables": 1}', JSON),
    "bodies_that_are_not_json": partial(_post, "/graphql", b"{" * 10_000, JSON),
    "samples_that_are_not_json": partial(_post, "/samples", b'{"data": [' + b"1," * 50_000, JSON),
    "lines_that_are_not_json": partial(_post, "/samples", b"{\n" * 500, NDJSON),
    "unknown_media_types": partial(_post, "/samples", SAMPLE * 1_000, "text/plain"),
    "abandoned_queries": partial(
        _abandoned, "POST", "/graphql", b'{"query": "{ results(first: 500) { totalCount } }"}'
    ),
    "abandoned_documents": _abandoned_document,
    "abandoned_exports": partial(_abandoned, "GET", "/results?format=csv", b""),
    "abandoned_samples": partial(_abandoned, "POST", "/samples", SAMPLE),
    "abandoned_event_streams": _abandoned_stream,
    "abandoned_websockets": partial(_abandoned_websocket, False),
    "abandoned_subscriptions": partial(_abandoned_websocket, True),
    "refused_websockets": _refused_websocket,
    "half_lines": _half_a_line,
}


_STORED = {"abandoned_samples", "half_lines"}
"""Rounds that flood with valid samples of a valid key, which the server stores."""


async def rounds(act: Act, target: Target) -> None:
    """Repeat a request over 32 connections."""

    async def once() -> None:
        try:
            await act(target, client)
        except (TimeoutError, asyncio.IncompleteReadError):
            await asyncio.sleep(0.01)

    async with target.client(32) as client:
        await repeat(target, 32, once)


for _name, _act in _ROUNDS.items():
    add(
        f"rounds_of_{_name}",
        partial(rounds, _act),
        is_valid_work=_name in _STORED,
        is_short=_name == "abandoned_subscriptions",
    )
