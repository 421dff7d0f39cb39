"""A watcher has every result exactly once, whatever is restarted meanwhile."""

import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from graphql_api.results.pagination import Cursor
from tests.stack import Stack, eventually

WATCH = (
    "subscription ($filter: ResultFilter, $after: String) "
    "{ results(filter: $filter, after: $after) { cursor node { id count } } }"
)
FOLLOW = "subscription ($id: ID!) { sample(id: $id) { state problems { path } result { count } } }"


@contextlib.asynccontextmanager
async def watching(stack: Stack, key: str) -> AsyncIterator[ClientConnection]:
    """Open a socket that may subscribe."""
    uri = stack.url.replace("http", "ws") + "/graphql"
    async with connect(uri, subprotocols=["graphql-transport-ws"]) as socket:  # type: ignore[list-item]
        await socket.send(json.dumps({"type": "connection_init", "payload": {"authorization": f"Bearer {key}"}}))
        assert json.loads(await socket.recv())["type"] == "connection_ack"
        yield socket


async def subscribe(socket: ClientConnection, query: str, **variables: Any) -> None:
    """Subscribe, and wait until the server has taken it up: it answers a later operation."""
    await socket.send(
        json.dumps({"id": "watch", "type": "subscribe", "payload": {"query": query, "variables": variables}})
    )
    await socket.send(json.dumps({"id": "probe", "type": "subscribe", "payload": {"query": "{ __typename }"}}))


async def following(socket: ClientConnection) -> AsyncIterator[dict[str, Any]]:
    """Yield what the subscription gives, and its end."""
    async for text in socket:
        message = json.loads(text)
        if message["type"] == "ping":
            await socket.send(json.dumps({"type": "pong"}))
        elif message.get("id") == "watch":
            yield message


async def submit(stack: Stack, key: str, count: int = 1) -> str:
    """Submit a sample of so many values from another thread, for the socket lives in this one."""
    sample = {"time_stamp": "2020-01-01T00:00:00Z", "data": [1.0] * count}
    receipt = await anyio.to_thread.run_sync(lambda: stack.submit(sample, key=key))
    return str(receipt["id"])


async def take(socket: ClientConnection, count: int) -> list[dict[str, Any]]:
    """Return the next so many results with their cursors."""
    taken: list[dict[str, Any]] = []
    async for message in following(socket):
        assert message["type"] == "next", message
        taken.append(message["payload"]["data"]["results"])
        if len(taken) == count:
            break
    return taken


async def test_a_reader_goes_on_from_its_cursor(stack: Stack) -> None:
    """What came while it was away first, then what comes; nothing is missing, nothing comes twice."""
    key = await anyio.to_thread.run_sync(stack.new_key, "returning")
    async with watching(stack, key) as socket:
        await subscribe(socket, WATCH)
        first = await submit(stack, key)
        (seen,) = await take(socket, 1)
    away = [await submit(stack, key) for _ in range(30)]

    async with watching(stack, key) as socket:
        await subscribe(socket, WATCH, after=seen["cursor"])
        back = [await submit(stack, key) for _ in range(10)]
        caught_up = await take(socket, 40)
    again = []
    async with watching(stack, key) as socket:
        await subscribe(socket, WATCH, after=caught_up[14]["cursor"])
        again = await take(socket, 25)

    assert seen["node"]["id"] == first
    assert sorted(edge["node"]["id"] for edge in caught_up) == sorted(away + back)
    assert again == caught_up[15:]


async def test_no_result_is_missed_or_doubled_when_firestore_is_killed(own_stack: Stack) -> None:
    """The stream breaks and is opened again behind what was delivered; the subscriber notices nothing."""
    stack, key = own_stack, own_stack.key
    async with watching(stack, key) as socket:
        await subscribe(socket, WATCH)
        ids = [await submit(stack, key) for _ in range(10)]
        edges = await take(socket, 10)
        os.kill(await anyio.to_thread.run_sync(stack.firestore_pid), signal.SIGKILL)
        ids += [await submit(stack, key) for _ in range(10)]
        edges += await take(socket, 10)
        ids.append(await submit(stack, key))
        edges += await take(socket, 1)

    assert sorted(edge["node"]["id"] for edge in edges) == sorted(ids)


async def test_all_submitters_have_all_results_after_firestore_was_killed(own_stack: Stack) -> None:
    """One stream serves them; what one has caught up with says nothing about another."""
    stack = own_stack
    keys = [await anyio.to_thread.run_sync(stack.new_key, name) for name in ("aa", "bb", "cc")]
    async with contextlib.AsyncExitStack() as sockets:
        watchers = [await sockets.enter_async_context(watching(stack, key)) for key in keys]
        for socket in watchers:
            await subscribe(socket, WATCH)
        ids = [[await submit(stack, key)] for key in keys]
        seen = [await take(socket, 1) for socket in watchers]
        os.kill(await anyio.to_thread.run_sync(stack.firestore_pid), signal.SIGKILL)
        for _ in range(3):
            for number, key in enumerate(keys):
                ids[number].append(await submit(stack, key))
        for number, socket in enumerate(watchers):
            seen[number] += await take(socket, 3)

    assert [sorted(edge["node"]["id"] for edge in edges) for edges in seen] == [sorted(each) for each in ids]


async def test_a_document_that_is_no_result_ends_nothing(stack: Stack) -> None:
    """Somebody wrote into the collection by hand: the next result comes all the same."""
    key = await anyio.to_thread.run_sync(stack.new_key, "meddled")
    async with watching(stack, key) as socket:
        await subscribe(socket, WATCH)
        foreign = stack.firestore().document("submitters/meddled/results/by-hand")
        await anyio.to_thread.run_sync(foreign.set, {"hello": 1})
        sample_id = await submit(stack, key)
        (edge,) = await take(socket, 1)

    assert edge["node"]["id"] == sample_id


async def test_more_than_the_queue_holds_comes_from_firestore(tmp_path: Path) -> None:
    """A burst is longer than what is held in memory for a subscriber; it has all of it, once, in order."""
    with Stack(tmp_path, DROPZONE_MAX_BUFFERED_RESULTS="2") as stack:
        key = stack.key
        mutation = "mutation ($samples: [RawSample!]!) { submitMany(samples: $samples) { id } }"
        samples = [{"time_stamp": "2020-01-01T00:00:00Z", "data": [1.0]}] * 300
        async with watching(stack, key) as socket:
            await subscribe(socket, WATCH)
            receipts = await anyio.to_thread.run_sync(lambda: stack.graphql(mutation, {"samples": samples}))
            edges = await take(socket, 300)

    assert sorted(edge["node"]["id"] for edge in edges) == sorted(each["id"] for each in receipts["submitMany"])


async def test_a_reader_goes_on_after_the_api_was_restarted(own_stack: Stack) -> None:
    """It is told to come back, and its cursor still holds."""
    stack, key = own_stack, own_stack.key
    async with watching(stack, key) as socket:
        await subscribe(socket, WATCH)
        before = [await submit(stack, key) for _ in range(3)]
        edges = await take(socket, 3)
        os.kill(await anyio.to_thread.run_sync(stack.api_pid), signal.SIGTERM)
        with pytest.raises(ConnectionClosed):
            await take(socket, 1)
    await anyio.to_thread.run_sync(eventually, stack.is_ready)
    away = [await submit(stack, key) for _ in range(3)]

    async with watching(stack, key) as socket:
        await subscribe(socket, WATCH, after=edges[-1]["cursor"])
        after = await take(socket, 3)

    assert sorted(edge["node"]["id"] for edge in edges) == sorted(before)
    assert sorted(edge["node"]["id"] for edge in after) == sorted(away)


async def test_a_cursor_from_before_all_times_begins_with_the_first_result(stack: Stack) -> None:
    """There is no time before it from which to read."""
    key = await anyio.to_thread.run_sync(stack.new_key, "from-the-beginning")
    ids = [await submit(stack, key) for _ in range(2)]
    cursor = Cursor(datetime(1, 1, 1, tzinfo=UTC), ids[0]).encode()

    async with watching(stack, key) as socket:
        await subscribe(socket, WATCH, after=cursor)
        edges = await take(socket, 2)

    assert sorted(edge["node"]["id"] for edge in edges) == sorted(ids)


async def test_each_result_is_read_for_itself_however_long_one_watches(tmp_path: Path) -> None:
    """What was read for those before is forgotten: it fills no memory and counts towards no limit."""
    query = "subscription { results { cursor node { sample { raw } } } }"
    sample = {"time_stamp": "2020-01-01T00:00:00Z", "data": [1.0], "padding": "x" * 600_000}
    with Stack(tmp_path, DROPZONE_MAX_SAMPLE_MIB="1") as stack:
        async with watching(stack, stack.key) as socket:
            await subscribe(socket, query)
            for _ in range(3):
                await anyio.to_thread.run_sync(stack.submit, sample)
                (edge,) = await take(socket, 1)
                assert edge["node"]["sample"]["raw"] == sample


async def test_a_filter_lets_through_what_it_says(stack: Stack) -> None:
    """The same ranges as in a query."""
    key = await anyio.to_thread.run_sync(stack.new_key, "filtered")
    async with watching(stack, key) as socket:
        await subscribe(socket, WATCH, filter={"count": {"gte": 3, "lt": 5}})
        for count in (1, 2, 3, 4, 5):
            await submit(stack, key, count)
        edges = await take(socket, 2)

    assert sorted(edge["node"]["count"] for edge in edges) == [3, 4]


async def test_one_submitter_never_sees_anothers_results(stack: Stack) -> None:
    """However they come."""
    mine, theirs = [await anyio.to_thread.run_sync(stack.new_key, name) for name in ("mine", "theirs")]
    async with watching(stack, mine) as socket:
        await subscribe(socket, WATCH)
        other = await submit(stack, theirs)
        await anyio.to_thread.run_sync(lambda: eventually(lambda: stack.sample(other, key=theirs)["result"]))
        own = await submit(stack, mine)
        (edge,) = await take(socket, 1)

    assert edge["node"]["id"] == own


async def test_many_watchers_all_have_every_result(stack: Stack) -> None:
    """A hundred sockets, twenty results: none lost, none doubled, all in the same order."""
    key = await anyio.to_thread.run_sync(stack.new_key, "popular")
    seen: list[list[str]] = []
    async with watching(stack, key) as socket:
        await subscribe(socket, WATCH)
        await submit(stack, key)
        (first,) = await take(socket, 1)

    async def watch() -> None:
        async with watching(stack, key) as socket:
            await subscribe(socket, WATCH, after=first["cursor"])
            seen.append([edge["node"]["id"] for edge in await take(socket, 20)])

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
async def test_a_sample_that_is_at_its_end_is_told_at_once(stack: Stack, sample: object, states: list[str]) -> None:
    """And the subscription completes."""
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


async def test_a_sample_that_is_not_there_cannot_be_watched(stack: Stack) -> None:
    """It is an error with a code, and the socket stays open."""
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
