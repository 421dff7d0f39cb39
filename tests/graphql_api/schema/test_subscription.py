"""A subscriber receives each of its own results that its filter selects, or the final state of one sample."""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import anyio
import pytest
from google.cloud.firestore import SERVER_TIMESTAMP
from websockets.asyncio.client import ClientConnection

from tests.another_api import AnotherApi
from tests.graphql_api.schema.subscriber import WATCH, following, receive, submit, subscribe, watching
from tests.stack import Stack, eventually, suspended

FOLLOW = "subscription ($id: ID!) { sample(id: $id) { state problems { path } result { count } } }"


@pytest.fixture(scope="module")
def small_stack(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An API whose memory holds two results per submitter, and that accepts samples of 1 MiB."""
    limits = {"DROPZONE_MAX_BUFFERED_RESULTS": "2", "DROPZONE_MAX_SAMPLE_MIB": "1"}
    with AnotherApi(stack, tmp_path_factory.mktemp("small"), **limits) as started:
        yield started


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
        assert await _states_until_complete(socket) == states


async def test_a_sample_is_followed_until_it_has_its_own_result(stack: Stack) -> None:
    """A sample was deleted and submitted again. The API receives the deletion while the new sample is pending."""
    key = await anyio.to_thread.run_sync(stack.new_key, "again")
    tombstone = {
        "status": "DELETED",
        "shard": 0,
        "sample_update_time": datetime.now(UTC) - timedelta(minutes=1),
        "statistics_version": 1,
        "computed_at": SERVER_TIMESTAMP,
    }
    async with watching(stack, key) as socket, watching(stack, key) as other_socket:
        await subscribe(other_socket, "subscription { removals { node { id } } }")
        with suspended(stack.function_pid()):
            sample_id = await submit(stack, key)
            await subscribe(socket, FOLLOW, id=sample_id)
            result = stack.firestore().document(f"submitters/again/results/{sample_id}")
            await anyio.to_thread.run_sync(result.set, tombstone)
            removal = await anext(following(other_socket))
        states = await _states_until_complete(socket)

    assert removal["payload"]["data"]["removals"]["node"]["id"] == sample_id
    assert states == ["PENDING", "COMPUTED"]


async def test_a_subscription_to_an_expired_sample_without_a_result_completes(stack: Stack) -> None:
    """Firestore deletes the documents of an expired sample in any order. No result follows."""
    key = await anyio.to_thread.run_sync(stack.new_key, "expired")
    states = ["NOT_FOUND"]
    async with watching(stack, key) as socket:
        while states == ["NOT_FOUND"]:  # again, if Firestore deleted the sample before the subscription
            sample_id = await submit(stack, key)
            await anyio.to_thread.run_sync(partial(stack.wait_for, sample_id, key=key))
            expire_at = datetime.now(UTC) - timedelta(hours=1)
            await anyio.to_thread.run_sync(_expire, stack, f"submitters/expired/samples/{sample_id}", expire_at)
            await subscribe(socket, FOLLOW, id=sample_id)
            states = await _states_until_complete(socket)

    assert states == ["DELETED"]


async def test_a_subscription_to_a_pending_sample_completes_when_the_sample_expires(stack: Stack) -> None:
    """No result is written then."""
    key = await anyio.to_thread.run_sync(stack.new_key, "expiring")
    states, seconds = ["NOT_FOUND"], 1
    async with watching(stack, key) as socket:
        while states[0] != "PENDING":  # again, if the sample expired before the subscription
            seconds *= 2
            sample_id = await submit(stack, key)
            await anyio.to_thread.run_sync(partial(stack.wait_for, sample_id, key=key))
            expire_at = datetime.now(UTC) + timedelta(seconds=seconds)
            await anyio.to_thread.run_sync(_expire, stack, f"submitters/expiring/samples/{sample_id}", expire_at)
            await subscribe(socket, FOLLOW, id=sample_id)
            states = await _states_until_complete(socket)

    assert states == ["PENDING", "DELETED"]


async def test_a_subscription_to_an_unknown_sample_is_an_error(stack: Stack) -> None:
    """The WebSocket stays open."""
    async with watching(stack, stack.key) as socket:
        await subscribe(socket, FOLLOW, id="5a3b6c1e-8f57-4a0e-9f0c-6b8f6a1d2c90")
        message = await anext(following(socket))
        await socket.send(json.dumps({"type": "ping"}))

        assert "NOT_FOUND" in json.dumps(message)
        assert any([json.loads(text)["type"] == "pong" async for text in _until_pong(socket)])


def _expire(stack: Stack, path: str, expire_at: datetime) -> None:
    """Let a sample expire at a time, and delete its result after the function has computed it again."""
    documents = stack.firestore()
    result = documents.document(path.replace("/samples/", "/results/"))
    written = documents.document(path).update({"expire_at": expire_at})
    eventually(lambda: result.get().get("sample_update_time") == written.update_time, lambda: stack.log)
    result.delete()


async def _states_until_complete(socket: ClientConnection) -> list[str]:
    """Return the states of a sample, or the code of the error that ends the subscription."""
    states = []
    with anyio.fail_after(60):
        async for message in following(socket):
            if message["type"] == "complete":
                break
            if message["type"] == "error":
                return [error["extensions"]["code"] for error in message["payload"]]
            states.append(message["payload"]["data"]["sample"]["state"])
    return states


async def _until_pong(socket: ClientConnection) -> AsyncIterator[str | bytes]:
    async for text in socket:
        yield text
        if json.loads(text)["type"] == "pong":
            return
