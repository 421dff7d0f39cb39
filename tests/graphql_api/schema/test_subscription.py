"""A subscriber receives each result exactly once, even if processes are killed or restarted."""

import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

import anyio
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from graphql_api.results.pagination import Cursor
from tests.stack import Stack, eventually, needs_embedded_firestore

WATCH = (
    "subscription ($filter: ResultFilter, $after: String) "
    "{ results(filter: $filter, after: $after) { cursor node { id count } } }"
)
FOLLOW = "subscription ($id: ID!) { sample(id: $id) { state problems { path } result { count } } }"


@pytest.fixture(scope="module")
def small_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose memory holds two results per submitter, and that accepts samples of 1 MiB."""
    limits = {"DROPZONE_MAX_BUFFERED_RESULTS": "2", "DROPZONE_MAX_SAMPLE_MIB": "1"}
    with Stack(tmp_path_factory.mktemp("small"), **limits) as started:
        yield started


@contextlib.asynccontextmanager
async def watching(stack: Stack, key: str) -> AsyncIterator[ClientConnection]:
    """Open an initialized WebSocket."""
    uri = stack.url.replace("http", "ws") + "/graphql"
    async with connect(uri, subprotocols=["graphql-transport-ws"]) as socket:  # type: ignore[list-item]
        await socket.send(json.dumps({"type": "connection_init", "payload": {"authorization": f"Bearer {key}"}}))
        assert json.loads(await socket.recv())["type"] == "connection_ack"
        yield socket


_early: WeakKeyDictionary[ClientConnection, list[dict[str, Any]]] = WeakKeyDictionary()
"""Messages of subscriptions that arrived before `subscribe` returned."""


async def subscribe(socket: ClientConnection, query: str, **variables: Any) -> None:
    """Subscribe, and wait for the response to a query: it shows that the server has started the subscription."""
    await socket.send(
        json.dumps({"id": "watch", "type": "subscribe", "payload": {"query": query, "variables": variables}})
    )
    await socket.send(json.dumps({"id": "probe", "type": "subscribe", "payload": {"query": "{ __typename }"}}))
    early = _early.setdefault(socket, [])
    while (message := json.loads(await socket.recv())) != {"id": "probe", "type": "complete"}:
        if message.get("id") == "watch":
            early.append(message)


async def following(socket: ClientConnection) -> AsyncIterator[dict[str, Any]]:
    """Yield the messages of the subscription, including the one that ends it."""
    early = _early.get(socket, [])
    while early:
        yield early.pop(0)
    async for text in socket:
        message = json.loads(text)
        if message["type"] == "ping":
            await socket.send(json.dumps({"type": "pong"}))
        elif message.get("id") == "watch":
            yield message


async def submit(stack: Stack, key: str, count: int = 1) -> str:
    """Submit a sample of `count` values in another thread, because this one serves the socket."""
    sample = {"time_stamp": "2020-01-01T00:00:00Z", "data": [1.0] * count}
    receipt = await anyio.to_thread.run_sync(lambda: stack.submit(sample, key=key))
    return str(receipt["id"])


async def receive(socket: ClientConnection, count: int) -> list[dict[str, Any]]:
    """Return the next `count` results with their cursors."""
    received: list[dict[str, Any]] = []
    async for message in following(socket):
        assert message["type"] == "next", message
        received.append(message["payload"]["data"]["results"])
        if len(received) == count:
            break
    return received


async def test_a_subscriber_resumes_after_its_cursor(stack: Stack) -> None:
    """It receives the results that it missed, then new ones. None is missing or repeated."""
    key = await anyio.to_thread.run_sync(stack.new_key, "returning")
    async with watching(stack, key) as socket:
        await subscribe(socket, WATCH)
        first = await submit(stack, key)
        (received,) = await receive(socket, 1)
    away = [await submit(stack, key) for _ in range(30)]

    async with watching(stack, key) as socket:
        await subscribe(socket, WATCH, after=received["cursor"])
        back = [await submit(stack, key) for _ in range(10)]
        caught_up = await receive(socket, 40)
    async with watching(stack, key) as socket:
        await subscribe(socket, WATCH, after=caught_up[14]["cursor"])
        again = await receive(socket, 25)

    assert received["node"]["id"] == first
    assert sorted(edge["node"]["id"] for edge in caught_up) == sorted(away + back)
    assert again == caught_up[15:]


@needs_embedded_firestore
async def test_no_result_is_missed_or_repeated_when_firestore_is_killed(disturbed_stack: Stack) -> None:
    """The Listen stream breaks and is reopened after the last result. The subscription continues."""
    stack = disturbed_stack
    key = await anyio.to_thread.run_sync(stack.new_key, "broken-stream")
    async with watching(stack, key) as socket:
        await subscribe(socket, WATCH)
        ids = [await submit(stack, key) for _ in range(10)]
        edges = await receive(socket, 10)
        os.kill(await anyio.to_thread.run_sync(stack.firestore_pid), signal.SIGKILL)
        ids += [await submit(stack, key) for _ in range(10)]
        edges += await receive(socket, 10)
        ids.append(await submit(stack, key))
        edges += await receive(socket, 1)

    assert sorted(edge["node"]["id"] for edge in edges) == sorted(ids)


@needs_embedded_firestore
async def test_all_submitters_receive_all_results_after_firestore_was_killed(disturbed_stack: Stack) -> None:
    """One stream serves all of them, but each resumes from its own position."""
    stack = disturbed_stack
    keys = [await anyio.to_thread.run_sync(stack.new_key, name) for name in ("aa", "bb", "cc")]
    async with contextlib.AsyncExitStack() as sockets:
        watchers = [await sockets.enter_async_context(watching(stack, key)) for key in keys]
        for socket in watchers:
            await subscribe(socket, WATCH)
        ids = [[await submit(stack, key)] for key in keys]
        seen = [await receive(socket, 1) for socket in watchers]
        os.kill(await anyio.to_thread.run_sync(stack.firestore_pid), signal.SIGKILL)
        for _ in range(3):
            for number, key in enumerate(keys):
                ids[number].append(await submit(stack, key))
        for number, socket in enumerate(watchers):
            seen[number] += await receive(socket, 3)

    assert [sorted(edge["node"]["id"] for edge in edges) for edges in seen] == [sorted(each) for each in ids]


async def test_a_document_that_is_not_a_result_is_skipped(stack: Stack) -> None:
    """An operator wrote it by hand. The subscription continues with the next result."""
    key = await anyio.to_thread.run_sync(stack.new_key, "meddled")
    async with watching(stack, key) as socket:
        await subscribe(socket, WATCH)
        foreign = stack.firestore().document("submitters/meddled/results/by-hand")
        await anyio.to_thread.run_sync(foreign.set, {"hello": 1})
        sample_id = await submit(stack, key)
        (edge,) = await receive(socket, 1)

    assert edge["node"]["id"] == sample_id


async def test_results_that_exceed_the_log_are_read_from_firestore(small_stack: Stack) -> None:
    """A subscriber receives all results of a burst once, although memory holds two of them."""
    stack = small_stack
    key = await anyio.to_thread.run_sync(stack.new_key, "burst")
    mutation = "mutation ($samples: [RawSample!]!) { submitMany(samples: $samples) { id } }"
    samples = [{"time_stamp": "2020-01-01T00:00:00Z", "data": [1.0]}] * 300
    async with watching(stack, key) as socket:
        await subscribe(socket, WATCH)
        receipts = await anyio.to_thread.run_sync(lambda: stack.graphql(mutation, {"samples": samples}, key=key))
        edges = await receive(socket, 300)

    assert sorted(edge["node"]["id"] for edge in edges) == sorted(each["id"] for each in receipts["submitMany"])


async def test_a_subscriber_resumes_after_the_api_was_restarted(disturbed_stack: Stack) -> None:
    """The connection is closed, and the cursor stays valid."""
    stack = disturbed_stack
    key = await anyio.to_thread.run_sync(stack.new_key, "resumes")
    async with watching(stack, key) as socket:
        await subscribe(socket, WATCH)
        before = [await submit(stack, key) for _ in range(3)]
        edges = await receive(socket, 3)
        os.kill(await anyio.to_thread.run_sync(stack.api_pid), signal.SIGTERM)
        with pytest.raises(ConnectionClosed):
            await receive(socket, 1)
    await anyio.to_thread.run_sync(eventually, stack.is_ready)
    away = [await submit(stack, key) for _ in range(3)]

    async with watching(stack, key) as socket:
        await subscribe(socket, WATCH, after=edges[-1]["cursor"])
        after = await receive(socket, 3)

    assert sorted(edge["node"]["id"] for edge in edges) == sorted(before)
    assert sorted(edge["node"]["id"] for edge in after) == sorted(away)


async def test_a_cursor_of_the_earliest_time_starts_with_the_first_result(stack: Stack) -> None:
    """The server cannot read from an earlier time than this one."""
    key = await anyio.to_thread.run_sync(stack.new_key, "from-the-beginning")
    ids = [await submit(stack, key) for _ in range(2)]
    cursor = Cursor(datetime(1, 1, 1, tzinfo=UTC), ids[0]).encode()

    async with watching(stack, key) as socket:
        await subscribe(socket, WATCH, after=cursor)
        edges = await receive(socket, 2)

    assert sorted(edge["node"]["id"] for edge in edges) == sorted(ids)


async def test_loaders_are_cleared_before_each_result(small_stack: Stack) -> None:
    """Earlier raw documents use no memory and do not count towards the limit of an operation."""
    stack = small_stack
    query = "subscription { results { cursor node { sample { raw } } } }"
    sample = {"time_stamp": "2020-01-01T00:00:00Z", "data": [1.0], "padding": "x" * 600_000}
    async with watching(stack, stack.key) as socket:
        await subscribe(socket, query)
        for _ in range(3):
            await anyio.to_thread.run_sync(stack.submit, sample)
            (edge,) = await receive(socket, 1)
            assert edge["node"]["sample"]["raw"] == sample


async def test_a_filter_selects_the_results(stack: Stack) -> None:
    """Ranges have the same meaning as in a query."""
    key = await anyio.to_thread.run_sync(stack.new_key, "filtered")
    async with watching(stack, key) as socket:
        await subscribe(socket, WATCH, filter={"count": {"gte": 3, "lt": 5}})
        for count in (1, 2, 3, 4, 5):
            await submit(stack, key, count)
        edges = await receive(socket, 2)

    assert sorted(edge["node"]["count"] for edge in edges) == [3, 4]


async def test_a_submitter_never_receives_results_of_another(stack: Stack) -> None:
    """The result of the other submitter is stored first."""
    mine, theirs = [await anyio.to_thread.run_sync(stack.new_key, name) for name in ("mine", "theirs")]
    async with watching(stack, mine) as socket:
        await subscribe(socket, WATCH)
        other = await submit(stack, theirs)
        await anyio.to_thread.run_sync(lambda: eventually(lambda: stack.sample(other, key=theirs)["result"]))
        own = await submit(stack, mine)
        (edge,) = await receive(socket, 1)

    assert edge["node"]["id"] == own


async def test_many_subscribers_receive_every_result(stack: Stack) -> None:
    """A hundred subscribers receive twenty results once, in the same order."""
    key = await anyio.to_thread.run_sync(stack.new_key, "popular")
    seen: list[list[str]] = []
    async with watching(stack, key) as socket:
        await subscribe(socket, WATCH)
        await submit(stack, key)
        (first,) = await receive(socket, 1)

    async def watch() -> None:
        async with watching(stack, key) as socket:
            await subscribe(socket, WATCH, after=first["cursor"])
            seen.append([edge["node"]["id"] for edge in await receive(socket, 20)])

    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(watch)
        ids = [await submit(stack, key) for _ in range(20)]

    assert len(seen) == 100
    assert all(order == seen[0] for order in seen)
    assert sorted(seen[0]) == sorted(ids)


@pytest.mark.parametrize(
    ("sample", "states"),
    [
        ({"time_stamp": "2020-01-01T00:00:00Z", "data": [1]}, ["COMPUTED"]),
        ({"time_stamp": "2020-01-01T00:00:00Z", "data": []}, ["REJECTED"]),
    ],
)
async def test_a_sample_in_a_final_state_is_returned_at_once(stack: Stack, sample: object, states: list[str]) -> None:
    """The subscription then completes."""
    sample_id = (await anyio.to_thread.run_sync(stack.submit, sample))["id"]
    await anyio.to_thread.run_sync(stack.wait_for, sample_id, states[-1])
    async with watching(stack, stack.key) as socket:
        await subscribe(socket, FOLLOW, id=sample_id)
        messages = []
        async for message in following(socket):
            messages.append(message)
            if message["type"] == "complete":
                break

    assert [message["payload"]["data"]["sample"]["state"] for message in messages[:-1]] == states


async def test_a_subscription_to_an_unknown_sample_is_an_error(stack: Stack) -> None:
    """The WebSocket stays open."""
    async with watching(stack, stack.key) as socket:
        await subscribe(socket, FOLLOW, id="5a3b6c1e-8f57-4a0e-9f0c-6b8f6a1d2c90")
        message = await anext(following(socket))
        await socket.send(json.dumps({"type": "ping"}))

        assert "NOT_FOUND" in json.dumps(message)
        assert any([json.loads(text)["type"] == "pong" async for text in _until_pong(socket)])


async def _until_pong(socket: ClientConnection) -> AsyncIterator[str | bytes]:
    async for text in socket:
        yield text
        if json.loads(text)["type"] == "pong":
            return
