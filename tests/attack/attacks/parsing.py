"""Small requests that take long to parse: headers, parameters, variables, and bodies that wait for their turn."""

import asyncio
import itertools
import json
import re
import zlib
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

import zstandard

from tests.attack.registry import add, attack
from tests.attack.target import JSON, SAMPLE, Target, repeat, send

_WAITING_BYTES = 200_000


def _tokens(size: int, first: str = "a") -> str:
    """Return a header value of about `size` bytes with as many tokens as possible."""
    return first + ",a" * (size // 2)


async def _send_heads(target: Target, connections: int, head: Callable[[], bytes]) -> None:
    """Send requests over some connections, 20 over each, one after the other. `head` returns the next request."""

    async def act() -> None:
        async with target.connection() as (reader, writer):
            for _ in range(20):
                writer.write(head())
                await reader.readuntil(b"\r\n\r\n")

    await repeat(target, connections, act)


@attack()
async def upgrades_with_15000_tokens(target: Target) -> None:
    """Send a header `Connection` with thousands of tokens, without a key."""
    head = target.head("/x", "upgrade: x", f"connection: upgrade,{_tokens(30_000)}", method="GET", key=False)

    async def act() -> None:
        async with target.connection() as streams:
            await send(streams, head * 20, target.seconds)

    await repeat(target, 4, act)


@attack(is_short=True)
async def different_accepts_of_16000_types(target: Target) -> None:
    """Send headers `Accept` with thousands of media types, each of them once, without a key."""
    numbers = itertools.count()

    def head() -> bytes:
        accept = f"accept: {_tokens(30_000, f'a{next(numbers)}')}"
        return target.head("/graphql?query=%7Ba%7D", accept, method="GET", key=False)

    await _send_heads(target, 8, head)


@attack()
async def cookies_of_15000_escapes(target: Target) -> None:
    """Send a cookie with thousands of escaped quotes, without a key."""
    cookie = 'cookie: a="' + '\\"' * 15_000 + '"'
    head = target.head("/graphql?query=%7Ba%7D", "x-requested-with: x", cookie, method="GET", key=False)
    await _send_heads(target, 4, lambda: head)


@attack()
async def unused_values_of_brackets(target: Target) -> None:
    """Send members that the operation does not use, each a list of hundreds of thousands of empty lists."""
    value = "[" + "[]," * 330_000 + "[]]"
    body = '{"query": "{ __typename }"' + "".join(f', "k{number}": {value}' for number in range(60)) + "}"
    compressed = zlib.compress(body.encode(), wbits=31)

    async with target.client(4) as client:
        headers = {"content-encoding": "gzip"}
        await repeat(target, 4, lambda: client.post("/graphql", content=compressed, headers=headers))


async def documents(query: str, target: Target) -> None:
    """Send an operation over 8 connections. It has few tokens, and the server refuses it."""
    body = json.dumps({"query": query}).encode()
    async with target.client(8) as client:
        await repeat(target, 8, lambda: client.post("/graphql", content=body))


def _chain(name: str) -> str:
    """Return 80 fragments that each spread the next one."""
    spreads = (f"fragment {name}{number} on Query {{ ...{name}{number + 1} }}" for number in range(80))
    return f"{' '.join(spreads)} fragment {name}80 on Query {{ __typename }}"


_VARIABLES = " ".join(f"$v{number}: Int!" for number in range(200))
for _name, _query in {
    "line_breaks_before_unused_variables": "\n" * 60_000 + f"query ({_VARIABLES}) {{ __typename }}",
    "line_breaks_before_a_syntax_error": "\n" * 60_000 + "{",
    "escapes": '{ sample(id: "' + "\\n" * 32_000 + '") { id } }',
    "chains_of_fragments": "{ ...A0 ...B0 ...C0 }" + "".join(map(_chain, "ABC")),
}.items():
    add(f"documents_of_{_name}", partial(documents, _query))


@attack()
async def query_of_64_mib_that_is_not_ascii(target: Target) -> None:
    """Send a few kilobytes that decompress to a long query with characters of two bytes."""
    body = zstandard.compress(b'{"query":"%b"}' % ("é" * (31 * 2**20)).encode())
    async with target.client(8) as client:
        await repeat(target, 8, lambda: client.post("/graphql", content=body, headers={"content-encoding": "zstd"}))


@attack()
async def known_tags_of_a_file(target: Target) -> None:
    """Request the dashboard over 64 connections without a key, with thousands of entity tags."""
    head = target.head("/", "accept: text/html", method="GET", key=False)
    async with target.connection() as (reader, writer):
        writer.write(head)
        page = await reader.readuntil(b"</html>")
    path = re.search(rb'/assets/[^"]+\.js', page)
    assert path is not None
    known = f"if-none-match: {_tokens(30_000)}"
    request = target.head(path[0].decode(), known, method="GET", key=False)
    await _send_heads(target, 64, lambda: request)


async def samples_with_16000_labels(target: Target) -> None:
    """Submit small samples with thousands of labels. The server stores them as REJECTED."""
    labels = ",".join(f'"a{number}":"b"' for number in range(16_000))
    body = f'{{"time_stamp": "2019-05-01T06:00:00Z", "data": [1], "labels": {{{labels}}}}}'.encode()

    async with target.client(8) as client:
        await repeat(target, 8, lambda: client.post("/samples", content=body))


add("samples_with_16000_labels", samples_with_16000_labels, stores_samples=True)


@attack()
async def lists_of_262000_ids(target: Target) -> None:
    """Send variables with a long list of ids, which the resolver refuses."""
    query = "mutation ($ids: [ID!]!) { deleteSamples(ids: $ids) { id } }"
    body = zlib.compress(json.dumps({"query": query, "variables": {"ids": ["0"] * 200_000}}).encode(), wbits=31)

    async with target.client(8) as client:
        headers = {"content-encoding": "gzip"}
        await repeat(target, 8, lambda: client.post("/graphql", content=body, headers=headers))


async def copies_of_a_variable(query: str, value: str, target: Target) -> None:
    """Send an operation that contains one long variable hundreds of times. The server refuses the operation."""
    body = json.dumps({"query": query, "variables": {"s": value}}).encode()
    async with target.client(8) as client:
        await repeat(target, 8, lambda: client.post("/graphql", content=body))


_LITERAL = '{time_stamp: "2019-05-01T06:00:00Z", data: [1], a: [%s]}' % ("$s " * 900)
_PAGES = " ".join(f"a{number}: results(after: $s, first: 0) {{ pageInfo {{ hasNextPage }} }}" for number in range(110))
for _name, _query, _size in (
    ("in_a_literal", f"mutation ($s: String) {{ submit(sample: {_LITERAL}) {{ id }} }}", 300_000),
    ("as_cursors", f"query ($s: String) {{ {_PAGES} }}", 1_000_000),
):
    add(
        f"copies_of_a_variable_{_name}",
        partial(copies_of_a_variable, _query, "A" * _size),
        is_short=_name == "in_a_literal",
    )


@attack()
async def exports_with_3000_parameters(target: Target) -> None:
    """Request the results with thousands of filters."""
    path = "/results?" + "&".join(f"label.a{number}" for number in range(2_700))

    async with target.client(8) as client:
        await repeat(target, 8, lambda: client.get(path))


@attack()
async def exports_with_4600_escaped_parameters(target: Target) -> None:
    """Request the results with as many parameters as the headers have room for."""
    path = "/results?" + "&".join(["a=%41"] * 4_600)

    async with target.client(64) as client:
        await repeat(target, 64, lambda: client.get(path))


@attack()
async def known_tags_of_1000_clients(target: Target) -> None:
    """Request a sample over 1,000 connections, each time with a header `If-None-Match` that has thousands of tags."""
    async with target.client(1_000) as client:
        location = (await client.post("/samples", content=SAMPLE)).headers["location"]
        tag = (await client.get(location)).headers["etag"]
        headers = {"if-none-match": "," * 30_000 + tag}
        await repeat(target, 1_000, lambda: client.get(location, headers=headers))


@attack()
async def bodies_of_2000_clients_without_a_key(target: Target) -> None:
    """Open 2,000 connections, and send the start of a large body over all of them at the same time."""
    head = target.head("/samples", f"content-type: {JSON}", f"content-length: {2 * _WAITING_BYTES}", key=False)
    data = head + b" " * _WAITING_BYTES
    async with AsyncExitStack() as opened:
        for _ in range(20):
            connections = [opened.enter_async_context(target.connection()) for _ in range(100)]
            for _, writer in await asyncio.gather(*connections):
                writer.write(data)
        await asyncio.sleep(target.seconds)
