"""Requests leave no reference cycles. Their memory is freed when they end, because garbage collections are rare."""

import asyncio
import gc

import pytest

from tests.graphql_api.endpoints.exchange import EXPORT, Exchange, limited_app
from tests.stack import Stack

REQUESTS = 20
SAMPLE = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2]}'
LARGE = b"1.5, " * 60_000
LARGE_SAMPLE = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [%b 1]}' % LARGE
LINES = (SAMPLE + b"\n") * 5
SUBSCRIPTION = b'{"query": "subscription { results { cursor } }"}'
JSON = (b"content-type", b"application/json")
KEY = (b"idempotency-key", b"a")
CORRECTION = (b"x-supersedes", b"00000000-0000-4000-8000-000000000000")
NDJSON = (b"content-type", b"application/x-ndjson")
EVENTS = (b"accept", b"text/event-stream")


EXCHANGES = {
    "a sample": Exchange("/samples", 201, SAMPLE, (JSON,)),
    "a refused sample": Exchange("/samples", 400, b"[", (JSON,)),
    "a refused sample of medium size": Exchange("/samples", 400, b'{"data": [%b' % LARGE[:50_000], (JSON,)),
    "a refused large sample": Exchange("/samples", 400, b'{"data": [%b' % LARGE, (JSON,)),
    "a refused large sample with a key": Exchange("/samples", 400, b'{"data": [%b' % LARGE, (JSON, KEY)),
    "a large sample that corrects an unknown one": Exchange("/samples", 404, LARGE_SAMPLE, (JSON, CORRECTION)),
    "a refused large line": Exchange("/samples", 200, b'{"data": [%b\n' % LARGE, (NDJSON,)),
    "lines": Exchange("/samples", 200, LINES, (NDJSON,)),
    "refused lines": Exchange("/samples", 200, b"[\n[\n", (NDJSON,)),
    "abandoned lines": Exchange("/samples", 200, LINES, (NDJSON,), is_abandoned=True, is_complete=False),
    "a query": Exchange("/graphql", 200, b'{"query": "{ results(first: 5) { edges { node { id } } } }"}', (JSON,)),
    "a query with an error": Exchange("/graphql", 200, b'{"query": "{ result(id: \\"x\\") { id } }"}', (JSON,)),
    "a document with a syntax error": Exchange("/graphql", 200, b'{"query": "{ %b"}' % (b"a " * 200), (JSON,)),
    "a document with too many fields": Exchange("/graphql", 200, b'{"query": "{ %b }"}' % (b"a " * 900), (JSON,)),
    "a body that is not JSON": Exchange("/graphql", 400, b"{", (JSON,)),
    "an abandoned subscription": Exchange("/graphql", 200, SUBSCRIPTION, (JSON, EVENTS), is_abandoned=True),
    "an export": EXPORT,
    "an abandoned export": EXPORT._replace(is_abandoned=True),
    "a page": Exchange("/graphql", headers=((b"accept", b"text/html"),)),
    "an unknown path": Exchange("/nothing", 404),
}


@pytest.mark.parametrize("kind", EXCHANGES)
async def test_a_request_leaves_no_reference_cycle(stack: Stack, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of thousands of requests left two hundred objects that only a collection could free."""
    app, exchange, key = limited_app(stack, monkeypatch), EXCHANGES[kind], stack.new_key("cycles")
    async with app.router.lifespan_context(app):
        for _ in range(3):
            await exchange.run(app, key)
        await asyncio.sleep(0.1)
        gc.collect()
        gc.disable()
        try:
            for _ in range(REQUESTS):
                await exchange.run(app, key)
            await asyncio.sleep(0.1)
            unreachable = gc.collect()
        finally:
            gc.enable()

    assert unreachable < REQUESTS
