"""Valid GraphQL operations that cost much."""

import asyncio
import json
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from tests.attack.registry import add, attack
from tests.attack.target import NDJSON, SAMPLE, Target, frame, repeat, send

_SAMPLES = 1_000  # so that pages are full
_PAGE = "edges { cursor node { id timestamp mean sample { id raw data problems { path } } } }"
_FRAGMENTS = " ".join(f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }}" for n in range(24))
_DIFFERENT = "subscription { a%d_%d: results(filter: {count: {gte: %d}}) { cursor } }"
_EVENTS_WITH_SAMPLES = "subscription { results { cursor node { id histogram { counts } sample { data } } } }"
_LARGE_EVENTS = "subscription { results { cursor node { id mean histogram { counts } } } }"


def _aliases(number: int, selection: str) -> str:
    """Return a selection set that selects the same field many times."""
    return "{ " + " ".join(f"a{n}: {selection}" for n in range(number)) + " }"


_QUERIES = {
    "introspection_with_aliases": (f"{{ __schema {{ types {_aliases(300, 'name')} }} }}", 64),
    "nested_introspection": (
        "{ __schema { types { fields { type { ofType { ofType { name } } } args { type { name } } } } } }",
        64,
    ),
    "pages": ("{ results(first: 500) { edges { node { id mean } } } }", 64),
    "pages_of_100": ("{ results(first: 100) { edges { node { id mean } } } }", 64),
    "pages_with_aliases": (_aliases(30, f"results(first: 500) {{ {_PAGE} }}"), 4),
    "pages_of_samples": (_aliases(9, "samples(first: 500) { edges { node { id raw } } }"), 8),
    "summaries": (_aliases(100, "resultsSummary { mean }"), 64),
    "summaries_over_time": (_aliases(30, "resultsOverTime(bucket: MINUTE) { start }"), 32),
    "counts": (_aliases(100, "results { totalCount }"), 64),
    "lookups": (_aliases(170, 'sample(id: "00000000-0000-4000-8000-000000000000") { id }'), 64),
    "typenames": (_aliases(340, "__typename"), 64),
    "fragments": (f"{{ ...f0 ...f0 }} {_FRAGMENTS} fragment f24 on Query {{ __typename }}", 32),
    "invalid_documents": (_aliases(340, "unknown"), 64),
}
"""Each query, and the number of connections that send it."""


async def query(text: str, connections: int, target: Target) -> None:
    """Send one query over many connections as fast as possible."""
    await target.fill(_SAMPLES)
    async with target.client(connections) as client:
        await repeat(target, connections, lambda: client.post("/graphql", json={"query": text}))


for _name, (_text, _connections) in _QUERIES.items():
    add(
        f"query_of_{_name}",
        partial(query, _text, _connections),
        is_short=_name in ("introspection_with_aliases", "summaries"),
    )


async def distinct_documents(target: Target) -> None:
    """Send documents that no cache contains."""
    numbers = iter(range(10**9))
    async with target.client(64) as client:

        async def act() -> None:
            number = next(numbers)
            fields = " ".join(f"a{number}_{n}: __typename" for n in range(300))
            await client.post("/graphql", json={"query": f"{{ {fields} }}"})

        await repeat(target, 64, act)


add("query_of_distinct_documents", distinct_documents)


_INVALID = {"syntax_errors": "{ %s", "too_many_fields": "{ %s }"}
"""Texts of documents that are not valid."""


async def invalid_documents(text: str, target: Target) -> None:
    """Send long documents that are not valid, each of them once. The server must not keep them."""
    numbers = iter(range(10**9))
    async with target.client(64) as client:

        async def act() -> None:
            fields = f"a{next(numbers)} " * 1_900
            await client.post("/graphql", json={"query": text % fields})

        await repeat(target, 64, act)


for _name, _text in _INVALID.items():
    add(f"query_of_documents_with_{_name}", partial(invalid_documents, _text), is_short=_name == "syntax_errors")


@attack()
async def distinct_variables(target: Target) -> None:
    """Send documents with 270 variables, whose names no other document has."""
    numbers = iter(range(10**9))
    async with target.client(64) as client:

        async def act() -> None:
            names = [f"$v{next(numbers)}{'x' * 100}" for _ in range(270)]
            declared = " ".join(f"{name}: ID!" for name in names)
            query = f"mutation ({declared}) {{ recompute(ids: [{' '.join(names)}]) {{ id }} }}"
            variables = {name[1:]: "a" for name in names}
            await client.post("/graphql", json={"query": query, "variables": variables})

        await repeat(target, 64, act)


@attack()
async def many_operations_and_a_long_fragment(target: Target) -> None:
    """Send documents with 160 operations, and with a fragment that has 900 values."""
    numbers = iter(range(10**9))
    values = '"a" ' * 900
    summary = f"resultsSummary(groupBy: [{values}]) {{ __typename }}"
    async with target.client(64) as client:

        async def act() -> None:
            first = next(numbers) * 160
            names = " ".join(f"query q{first + number} {{ __typename }}" for number in range(160))
            query = f"{names} query a {{ ...f }} fragment f on Query {{ {summary} }}"
            await client.post("/graphql", json={"query": query, "operationName": f"q{first}"})

        await repeat(target, 64, act)


async def exports(target: Target) -> None:
    """Export all results over 32 connections as fast as possible."""
    await target.fill(_SAMPLES)
    async with target.client(32) as client:
        await repeat(target, 32, lambda: client.get("/results"))


add("exports", exports)


@attack()
async def exports_that_are_not_read(target: Target) -> None:
    """Start 200 exports, and read nothing."""
    await target.fill(_SAMPLES)
    async with AsyncExitStack() as opened:
        for _ in range(200):
            _, writer = await opened.enter_async_context(target.connection())
            writer.write(target.head("/results", method="GET"))
        await asyncio.sleep(target.seconds)


async def exports_read_slowly(name: str, target: Target) -> None:
    """Export all results in a format over 64 connections, and read 4 KiB a second over each."""
    await target.fill(_SAMPLES)

    async def act() -> None:
        async with target.connection() as (reader, writer):
            writer.write(target.head(f"/results?format={name}", method="GET"))
            is_open = True
            while is_open:
                is_open = bool(await reader.read(4096))
                await asyncio.sleep(1)

    await repeat(target, 64, act)


for _format in ("ndjson", "csv", "arrow"):
    add(f"exports_read_slowly_as_{_format}", partial(exports_read_slowly, _format), is_valid_work=True)


def _subscribe(number: int, text: str, **variables: Any) -> bytes:
    message = {"type": "subscribe", "id": str(number), "payload": {"query": text, "variables": variables}}
    return frame(1, json.dumps(message).encode())


@attack()
async def many_different_subscriptions(target: Target) -> None:
    """Open 100 WebSockets with 100 different subscriptions each."""
    async with AsyncExitStack() as opened:
        sockets = await asyncio.gather(
            *(opened.enter_async_context(target.websocket(init=True)) for _ in range(100)), return_exceptions=True
        )
        sending = []
        for one, streams in enumerate(sockets):
            if not isinstance(streams, BaseException):
                data = b"".join(_subscribe(n, _DIFFERENT % (one, n, n)) for n in range(100))
                sending.append(send(streams, data, target.seconds))
        await asyncio.gather(*sending)
        await asyncio.sleep(target.seconds / 2)


@attack()
async def subscriptions_opened_and_closed(target: Target) -> None:
    """Open 10,000 subscriptions over event streams and close each at once."""
    text = "subscription { results { cursor node { id } } }"
    async with target.client(50) as client:
        for _ in range(200):
            await asyncio.gather(*(_open_and_close(client, text) for _ in range(50)), return_exceptions=True)


async def _open_and_close(client: Any, text: str) -> None:
    headers = {"accept": "text/event-stream"}
    async with asyncio.timeout(5), client.stream("POST", "/graphql", json={"query": text}, headers=headers):
        pass


@attack()
async def subscriptions_that_are_not_read(target: Target) -> None:
    """Subscribe 100 times to all results, submit samples, and read nothing."""
    async with AsyncExitStack() as opened:
        sockets = [await opened.enter_async_context(target.websocket(init=True)) for _ in range(20)]
        for _, writer in sockets:
            for number in range(5):
                writer.write(_subscribe(number, _LARGE_EVENTS))
        async with target.client(8) as client:
            lines = (SAMPLE + b"\n") * 100
            headers = {"content-type": NDJSON}
            await repeat(target, 2, lambda: client.post("/samples", content=lines, headers=headers))


@attack(is_valid_work=True)
async def event_streams_with_samples(target: Target) -> None:
    """Open 300 event streams whose events contain samples, submit samples, and read nothing."""
    async with AsyncExitStack() as opened:
        for _ in range(300):
            _, writer = await opened.enter_async_context(target.connection())
            writer.write(target.event_stream(_EVENTS_WITH_SAMPLES))
        async with target.client(8) as client:
            lines = (SAMPLE + b"\n") * 100
            await repeat(target, 2, lambda: client.post("/samples", content=lines, headers={"content-type": NDJSON}))


@attack(is_valid_work=True)
async def label_values_of_many_series(target: Target) -> None:
    """Store samples of thousands of series, and list the values of their label over 64 connections."""
    lines = b"".join(
        b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1], "labels": {"a": "%d"}}\n' % n for n in range(9_000)
    )
    async with target.client(64) as client:
        await client.post("/samples", content=lines, headers={"content-type": NDJSON})
        body = b'{"query": "{ labelValues(name: \\"a\\") }"}'
        await repeat(target, 64, lambda: client.post("/graphql", content=body))


@attack(is_valid_work=True)
async def label_values_with_aliases(target: Target) -> None:
    """Store samples of thousands of series, and list the values of their label 45 times in each request."""
    lines = b"".join(
        b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1], "labels": {"a": "%d"}}\n' % n for n in range(9_000)
    )
    text = _aliases(45, 'labelValues(name: "a")')
    async with target.client(16) as client:
        await client.post("/samples", content=lines, headers={"content-type": NDJSON})
        await repeat(target, 16, lambda: client.post("/graphql", json={"query": text}))


@attack(is_valid_work=True)
async def time_buckets_with_long_aliases(target: Target) -> None:
    """Store samples of 6,000 days, and request a summary of each day with many long aliases over 4 connections."""
    lines = b"".join(
        b'{"time_stamp": "%04d-%02d-%02dT06:00:00Z", "data": [1, 2.5]}\n' % (year, month, day)
        for year in range(2001, 2021)
        for month in range(1, 13)
        for day in range(1, 26)
    )
    aliases = " ".join(f"{'a' * 124}{number}: results" for number in range(28))
    async with target.client(4) as client:
        await client.post("/samples", content=lines, headers={"content-type": NDJSON})
        body = {"query": f"{{ resultsOverTime(bucket: DAY) {{ {aliases} }} }}"}
        await repeat(target, 4, lambda: client.post("/graphql", json=body))
