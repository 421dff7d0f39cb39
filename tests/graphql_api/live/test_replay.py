"""What was written is read back in the order of the writes, whatever the documents say of their time."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import grpc.aio
import pytest

from graphql_api.live.replay import Replay
from graphql_api.live.written_result import Place
from storage.firestore.client import Firestore
from tests.stack import Stack

SHARDS = 3
LAST_ID = chr(0x10FFFF)


@pytest.fixture
async def firestore(stack: Stack) -> AsyncIterator[Firestore]:
    """Connect to the stack's Firestore as the API does."""
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{stack.firestore_port}")
    yield Firestore(channel, "projects/dropzone-local/databases/(default)", timeout_seconds=30)
    await channel.close()


async def write(stack: Stack, submitter: str, count: int) -> list[Place]:
    """Write results whose own times are cut to milliseconds and older than their commits, by chance; return places.

    That is what Firestore in the cloud does to the server time in a document.
    """
    chance = random.Random(7)
    client: Any = stack.async_firestore()
    results = client.collection(f"submitters/{submitter}/results")
    places: list[Place] = []
    for _ in range(count // 5):
        batch = client.batch()
        ids = [str(uuid4()) for _ in range(5)]
        now = datetime.now().astimezone()
        for number, sample_id in enumerate(ids):
            computed_at = now - timedelta(milliseconds=chance.randrange(500))
            computed_at = computed_at.replace(microsecond=computed_at.microsecond // 1000 * 1000)
            batch.set(results.document(sample_id), {"shard": number % SHARDS, "computed_at": computed_at})
        written = await batch.commit()
        places += [(result.update_time, sample_id) for result, sample_id in zip(written, ids, strict=True)]
    client.close()
    return sorted(places)


async def read(replay: Replay, submitter: str, after: Place, until: Place) -> list[str]:
    """Return the ids behind one place up to another."""
    return [each.place[1] async for each in replay.written(submitter, after, until, lambda: until[0])]


async def test_results_come_in_the_order_of_their_writes_from_any_place(stack: Stack, firestore: Firestore) -> None:
    """Over shards and pages; none is missing where a reader goes on, none comes twice."""
    places = await write(stack, "replayed", 1_000)
    ids = [sample_id for _, sample_id in places]
    replay = Replay(firestore, shards=SHARDS)
    until = (await firestore.now(), LAST_ID)

    for number in (0, 1, 4, 5, 333, 777, 998, 999):
        assert await read(replay, "replayed", places[number], until) == ids[number + 1 :]
        assert (
            await read(Replay(firestore, shards=SHARDS), "replayed", places[0], places[number]) == ids[1 : number + 1]
        )


async def test_readers_who_share_pages_have_what_was_written_since(stack: Stack, firestore: Firestore) -> None:
    """A page that was read before something came into it is read again by who may need that."""
    replay = Replay(firestore, shards=SHARDS)
    places = await write(stack, "shared", 50)
    start: Place = (places[0][0] - timedelta(seconds=1), "")
    earlier = (await firestore.now(), LAST_ID)
    first = await read(replay, "shared", start, earlier)
    places += await write(stack, "shared", 50)
    later = (await firestore.now(), LAST_ID)

    both = await asyncio.gather(read(replay, "shared", start, earlier), read(replay, "shared", start, later))

    assert first == both[0] == [sample_id for _, sample_id in places[:50]]
    assert both[1] == [sample_id for _, sample_id in places]
