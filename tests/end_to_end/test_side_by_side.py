"""Two API processes and two function processes share their ports, and clients notice no difference."""

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack

import anyio.to_thread
import httpx
import pytest

from tests.graphql_api.schema.subscriber import WATCH, receive, subscribe, watching
from tests.stack import Stack, eventually

CLIENTS = 16  # the probability that one of two processes gets all of them is 1 in 32,768
SAMPLE = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2, 3]}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with two API and two function processes."""
    counts = {"DROPZONE_API_PROCESSES": "2", "DROPZONE_FUNCTION_PROCESSES": "2"}
    with Stack(tmp_path_factory.mktemp("side_by_side"), **counts) as started:
        eventually(lambda: "everything is ready" in started.log, lambda: started.log)
        yield started


def test_two_processes_of_each_kind_compute_samples(stack: Stack) -> None:
    """Two processes of each kind run."""
    ids = [stack.submit_fixture()["id"] for _ in range(10)]

    computed = [stack.wait_for(sample_id) for sample_id in ids]

    assert {sample["result"]["mean"] for sample in computed} == {0.9985282517566032}
    assert len(stack.pids_of("-m graphql_api")) == 2
    assert len(stack.function_pids()) == 2


async def test_every_subscriber_gets_the_results_of_all_processes(stack: Stack) -> None:
    """Each of 16 subscribers and 16 submitters has its own connection."""
    key = await anyio.to_thread.run_sync(stack.new_key, "watched-side-by-side")

    async with AsyncExitStack() as opened:
        subscribers = [await opened.enter_async_context(watching(stack, key)) for _ in range(CLIENTS)]
        for subscriber in subscribers:
            await subscribe(subscriber, WATCH)
        ids = await submit(stack, key, CLIENTS)
        delivered = [await receive(subscriber, len(ids)) for subscriber in subscribers]

    assert all(sorted(edge["node"]["id"] for edge in each) == sorted(filter(None, ids)) for each in delivered)
    assert len(set(ids)) == CLIENTS


async def test_each_process_serves_the_metrics_of_all(stack: Stack) -> None:
    """Requests reach both processes. The metrics of the function are those of both of its processes."""
    counted = re.compile(r'^dropzone_submit_duration_seconds_count{state="PENDING"} (\S+)$', re.MULTILINE)
    before = {float(value) for value in counted.findall(await metrics(stack))}

    ids = await submit(stack, stack.key, CLIENTS)
    after = [float(value) for _ in range(CLIENTS) for value in counted.findall(await metrics(stack))]

    assert None not in ids
    assert len(before) == 1
    assert after == [before.pop() + CLIENTS] * CLIENTS
    computed = re.compile(
        r'^dropzone_function_duration_seconds_count{outcome="COMPUTED",process="function"} (\S+)$', re.MULTILINE
    )
    results = stack.firestore().collection_group("results")
    await anyio.to_thread.run_sync(lambda: [stack.wait_for(str(sample_id)) for sample_id in ids])
    stored = len(list(results.stream()))

    def is_counted() -> bool:
        texts = [stack.get("/metrics", connection="close").text for _ in range(CLIENTS)]
        return all(float(value) >= stored for text in texts for value in computed.findall(text))

    await anyio.to_thread.run_sync(eventually, is_counted)


async def test_killing_one_process_of_each_kind_loses_nothing(stack: Stack) -> None:
    """Clients submit meanwhile. Acknowledged samples are computed once, and both processes are restarted."""
    victims = [stack.pids_of("-m graphql_api")[0], stack.function_pids()[0]]
    key = await anyio.to_thread.run_sync(stack.new_key, "killed")

    first_response = asyncio.Event()
    submitting = asyncio.create_task(submit(stack, key, 200, first_response))
    await first_response.wait()
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
    eventually(lambda: len(stack.function_pids()) == 2, lambda: stack.log)
    assert not set(victims) & {*stack.pids_of("-m graphql_api"), *stack.function_pids()}


async def submit(stack: Stack, key: str, count: int, first_response: asyncio.Event | None = None) -> list[str | None]:
    """Submit samples, each over its own connection; return their ids, or None for those without a response.

    `first_response` is set when the first request has ended.
    """
    headers = {"x-api-key": key, "connection": "close"}

    async def submit_one(client: httpx.AsyncClient) -> str | None:
        try:
            response = await client.post("/samples", json=SAMPLE, headers=headers)
        except httpx.TransportError:
            return None
        finally:
            if first_response is not None:
                first_response.set()
        assert response.status_code in (201, 503), response.text
        return str(response.json()["id"]) if response.status_code == 201 else None

    async with httpx.AsyncClient(base_url=stack.url, timeout=60) as client:
        return await asyncio.gather(*(submit_one(client) for _ in range(count)))


async def metrics(stack: Stack) -> str:
    """Request the metrics over a new connection."""
    async with httpx.AsyncClient(base_url=stack.url, timeout=60) as client:
        return (await client.get("/metrics")).text
