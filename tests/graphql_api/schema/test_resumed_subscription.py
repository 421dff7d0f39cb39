"""A subscriber receives each result exactly once, even if processes are killed or restarted."""

import contextlib
import os
import signal
from datetime import UTC, datetime, timedelta

import anyio
import pytest
from websockets.exceptions import ConnectionClosed

from graphql_api.results.pagination import Cursor
from tests.graphql_api.schema.subscriber import WATCH, following, receive, submit, subscribe, watching
from tests.stack import PATIENCE_SECONDS, Stack, eventually, needs_embedded_firestore

SOME_ID = "00000000-0000-4000-8000-000000000000"


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


@pytest.mark.parametrize("cursor", ["", Cursor(datetime(1, 1, 1, tzinfo=UTC), SOME_ID).encode()])
async def test_an_empty_or_the_earliest_cursor_starts_with_the_first_result(stack: Stack, cursor: str) -> None:
    """The server cannot read from an earlier time than this one."""
    key = await anyio.to_thread.run_sync(stack.new_key, f"from-the-beginning-{len(cursor)}")
    ids = [await submit(stack, key) for _ in range(2)]

    async with watching(stack, key) as socket:
        await subscribe(socket, WATCH, after=cursor)
        edges = await receive(socket, 2)

    assert sorted(edge["node"]["id"] for edge in edges) == sorted(ids)


@pytest.mark.parametrize("name", ["results", "removals"])
async def test_a_cursor_in_the_future_is_refused(stack: Stack, name: str) -> None:
    """The subscription would leave out everything up to this time without a word."""
    cursor = Cursor(datetime.now(UTC) + timedelta(hours=1), SOME_ID).encode()
    query = f"subscription ($after: String) {{ {name}(after: $after) {{ cursor }} }}"

    async with watching(stack, stack.key) as socket:
        await subscribe(socket, query, after=cursor)
        with anyio.fail_after(PATIENCE_SECONDS):
            message = await anext(following(socket))

    assert message["payload"][0]["extensions"]["code"] == "BAD_REQUEST"
    assert "later than the present time" in message["payload"][0]["message"]
