"""Two processes of the API and two of the function, on the ports of one: no client can tell."""

import asyncio
import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import anyio.to_thread
import httpx
import pytest
from websockets.asyncio.client import connect

from tests.stack import Stack, eventually

CLIENTS = 16  # that all of them come to one of two processes happens once in 32,768 runs
SAMPLE = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2, 3]}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with two of each."""
    counts = {"DROPZONE_API_PROCESSES": "2", "DROPZONE_FUNCTION_PROCESSES": "2"}
    with Stack(tmp_path_factory.mktemp("side_by_side"), **counts) as started:
        eventually(lambda: "everything is ready" in started.log, lambda: started.log)
        yield started


def test_the_main_job_is_done(stack: Stack) -> None:
    """By whichever of them, many times over; the log tells the processes apart."""
    ids = [stack.submit_fixture()["id"] for _ in range(10)]

    computed = [stack.wait_for(sample_id) for sample_id in ids]

    assert {sample["result"]["mean"] for sample in computed} == {0.9985282517566032}
    assert len(stack.pids_of("-m graphql_api")) == 2
    assert len(workers(stack)) == 2


async def test_every_subscriber_sees_what_came_in_through_any_process(stack: Stack) -> None:
    """Sixteen subscribers and sixteen submitters, each on a connection of its own."""
    key = await anyio.to_thread.run_sync(stack.new_key, "watched")

    async with AsyncExitStack() as opened:
        subscribers = [await opened.enter_async_context(watching(stack)) for _ in range(CLIENTS)]
        for subscriber in subscribers:
            await begin(subscriber, key)
        ids = await submit(stack, key, CLIENTS)
        seen = [await received(subscriber, len(ids)) for subscriber in subscribers]

    assert all(sorted(each) == sorted(filter(None, ids)) for each in seen)
    assert len(set(ids)) == CLIENTS


async def test_each_answers_for_all_what_was_counted(stack: Stack) -> None:
    """Whichever process is asked."""
    counted = re.compile(r'^dropzone_submit_seconds_count{state="PENDING"} (\S+)$', re.MULTILINE)
    before = {float(seen) for seen in counted.findall(await metrics(stack))}

    ids = await submit(stack, stack.key, CLIENTS)
    after = [float(seen) for _ in range(CLIENTS) for seen in counted.findall(await metrics(stack))]

    assert None not in ids
    assert len(before) == 1
    assert after == [before.pop() + CLIENTS] * CLIENTS


async def test_killing_one_of_each_loses_nothing(stack: Stack) -> None:
    """While clients submit: what is acknowledged is computed once, and both are started again."""
    victims = [stack.pids_of("-m graphql_api")[0], workers(stack)[0]]
    key = await anyio.to_thread.run_sync(stack.new_key, "killed")

    submitting = asyncio.create_task(submit(stack, key, 200))
    await asyncio.sleep(0.05)
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    receipts = {sample_id for sample_id in [*await submitting, *await submit(stack, key, 50)] if sample_id}

    assert len(receipts) > 50
    collection = stack.firestore().collection("submitters/killed/results")
    await anyio.to_thread.run_sync(
        eventually, lambda: receipts <= {result.id for result in collection.stream()}, lambda: stack.log
    )
    results = list(collection.stream())
    assert {result.get("mean") for result in results} == {2.0}
    assert all(result.create_time == result.update_time for result in results)
    eventually(lambda: len(stack.pids_of("-m graphql_api")) == 2 and "is ready again" in stack.log, lambda: stack.log)
    eventually(lambda: len(workers(stack)) == 2, lambda: stack.log)
    assert not set(victims) & {*stack.pids_of("-m graphql_api"), *workers(stack)}


def workers(stack: Stack) -> list[int]:
    """Return the processes of the function."""
    return stack.pids_of("spawn_main", stack.function_pid())


async def submit(stack: Stack, key: str, count: int) -> list[str | None]:
    """Submit samples, each over a connection of its own; return their ids, None where the answer never came."""
    headers = {"x-api-key": key, "connection": "close"}

    async def submit_one(client: httpx.AsyncClient) -> str | None:
        try:
            answer = await client.post("/samples", json=SAMPLE, headers=headers)
        except httpx.TransportError:
            return None
        assert answer.status_code in (201, 503), answer.text
        return str(answer.json()["id"]) if answer.status_code == 201 else None

    async with httpx.AsyncClient(base_url=stack.url, timeout=30) as client:
        return await asyncio.gather(*(submit_one(client) for _ in range(count)))


async def metrics(stack: Stack) -> str:
    """Return the metrics, asked for over a connection of its own."""
    async with httpx.AsyncClient(base_url=stack.url, timeout=30) as client:
        return (await client.get("/metrics")).text


def watching(stack: Stack) -> connect:
    """Open a WebSocket."""
    uri = stack.url.replace("http", "ws") + "/graphql"
    return connect(uri, subprotocols=["graphql-transport-ws"])  # type: ignore[list-item]


async def begin(socket: Any, key: str) -> None:
    """Subscribe to all results; return when the subscription is under way."""
    await socket.send(json.dumps({"type": "connection_init", "payload": {"x-api-key": key}}))
    assert json.loads(await socket.recv())["type"] == "connection_ack"
    for number, query in enumerate(("subscription { results { node { id } } }", "{ __typename }")):
        await socket.send(json.dumps({"id": str(number), "type": "subscribe", "payload": {"query": query}}))
    # The answer to the later operation says that the earlier one is under way.
    assert json.loads(await socket.recv())["id"] == "1"
    assert json.loads(await socket.recv())["type"] == "complete"


async def received(socket: Any, count: int) -> list[str]:
    """Return the ids of the next results."""
    async with asyncio.timeout(30):
        return [json.loads(await socket.recv())["payload"]["data"]["results"]["node"]["id"] for _ in range(count)]
