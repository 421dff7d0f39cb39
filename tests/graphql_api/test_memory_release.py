"""The memory of operations is given back when they end."""

import asyncio
import json
from collections.abc import Iterator

import httpx
import psutil
import pytest

from tests.graphql_api.schema.subscriber import WATCH, watching
from tests.stack import Stack, eventually

SOCKETS, SUBSCRIPTIONS = 50, 100
REFUSED = [
    {"query": "{ nothing }"},
    {"query": "{ results(first: 2000) { edges { cursor } } }"},
    {"query": "query ($n: Int!) { results(first: $n) { edges { cursor } } }", "variables": {"n": "many"}},
    {"query": 'mutation ($s: RawSample!) { submit(sample: $s, idempotencyKey: "") { id } }', "variables": {"s": {}}},
]


@pytest.fixture(scope="module")
def roomy_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that allows many subscriptions."""
    settings = {"DROPZONE_MAX_SUBSCRIPTIONS_PER_SUBMITTER": "100000"}
    with Stack(tmp_path_factory.mktemp("memory-release"), **settings) as stack:
        yield stack


async def subscribe_and_close(stack: Stack) -> None:
    """Open many subscriptions, and close their WebSockets."""
    async with asyncio.TaskGroup() as tasks:
        for _ in range(SOCKETS):
            tasks.create_task(_subscribe_and_close(stack))


async def _subscribe_and_close(stack: Stack) -> None:
    async with watching(stack, stack.key) as socket:
        for number in range(SUBSCRIPTIONS):
            message = {"id": str(number), "type": "subscribe", "payload": {"query": WATCH}}
            await socket.send(json.dumps(message))
        await socket.send(json.dumps({"type": "ping"}))
        while json.loads(await socket.recv())["type"] != "pong":
            pass


async def test_rounds_of_subscriptions_and_refused_requests_do_not_grow_the_process(roomy_stack: Stack) -> None:
    """Cycles and memory that was kept grew the process by 200 MiB for each round of 10,000 subscriptions."""
    process = psutil.Process(roomy_stack.api_pid())
    async with httpx.AsyncClient(base_url=roomy_stack.url, headers={"x-api-key": roomy_stack.key}) as client:
        for request in REFUSED:
            await client.post("/graphql", json=request)
        await subscribe_and_close(roomy_stack)
        after_first_round = process.memory_info().rss
        for _ in range(4):
            await subscribe_and_close(roomy_stack)
            for request in REFUSED * 50:
                assert "errors" in (await client.post("/graphql", json=request)).json()

    def is_given_back() -> bool:
        return process.memory_info().rss < 1.2 * after_first_round

    assert await asyncio.to_thread(eventually, is_given_back)
