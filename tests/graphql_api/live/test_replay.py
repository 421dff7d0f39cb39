"""Results are read in the order of their writes, although the times in the documents differ from it."""

import asyncio
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any

import pytest

from graphql_api.live.listener import Position
from graphql_api.live.replay import Replay
from storage.documents import Unavailable
from storage.firestore.client import Firestore
from tests.graphql_api.live.written_results import SHARDS, write
from tests.stack import Stack

LAST_ID = chr(0x10FFFF)


async def read(replay: Replay, submitter: str, after: Position, until: Position) -> list[str]:
    """Return the ids after one position up to another."""
    return [written.position[1] async for written in replay.read(submitter, after, until, lambda: until[0])]


async def test_results_are_in_the_order_of_their_writes_from_any_position(stack: Stack, firestore: Firestore) -> None:
    """Across shards and pages, no result is missing or repeated where a reader resumes."""
    positions = await write(stack, "replayed", 1_000)
    ids = [sample_id for _, sample_id in positions]
    replay = Replay(firestore, shards=SHARDS)
    until = (await firestore.now(), LAST_ID)

    for number in (0, 1, 4, 5, 333, 777, 998, 999):
        assert await read(replay, "replayed", positions[number], until) == ids[number + 1 :]
        fresh = Replay(firestore, shards=SHARDS)
        assert await read(fresh, "replayed", positions[0], positions[number]) == ids[1 : number + 1]


async def test_readers_that_share_pages_receive_later_writes(stack: Stack, firestore: Firestore) -> None:
    """A page that may lack a later write is read again for a reader that needs this write."""
    replay = Replay(firestore, shards=SHARDS)
    positions = await write(stack, "shared", 50)
    start: Position = (positions[0][0] - timedelta(seconds=1), "")
    earlier = (await firestore.now(), LAST_ID)
    first = await read(replay, "shared", start, earlier)
    positions += await write(stack, "shared", 50)
    later = (await firestore.now(), LAST_ID)

    both = await asyncio.gather(read(replay, "shared", start, earlier), read(replay, "shared", start, later))

    assert first == both[0] == [sample_id for _, sample_id in positions[:50]]
    assert both[1] == [sample_id for _, sample_id in positions]


async def test_a_page_that_another_reader_still_uses_is_read_again_if_it_lacks_writes(
    stack: Stack, firestore: Firestore
) -> None:
    """Readers share a page that was read before the later writes. A slow reader keeps it in memory."""
    replay = Replay(firestore, shards=SHARDS)
    positions = await write(stack, "kept-page", 50)
    start: Position = (positions[0][0] - timedelta(seconds=1), "")
    earlier = (await firestore.now(), LAST_ID)
    async with aclosing(replay.read("kept-page", start, earlier, lambda: earlier[0])) as slow:
        await anext(slow)
        positions += await write(stack, "kept-page", 50)
        later = (await firestore.now(), LAST_ID)

        ids = await read(replay, "kept-page", start, later)

    assert ids == [sample_id for _, sample_id in positions]


class CountedFirestore:
    """A Firestore that counts the pages that are read from it."""

    def __init__(self, firestore: Firestore) -> None:
        self._firestore = firestore
        self.pages = 0

    def name(self, path: str) -> str:
        """Return the full name of a document."""
        return self._firestore.name(path)

    async def page(self, parent: str, query: Any) -> list[Any]:
        """Return the documents that match a query."""
        self.pages += 1
        return await self._firestore.page(parent, query)


async def test_readers_share_pages_until_the_last_reader_has_ended(stack: Stack, firestore: Firestore) -> None:
    """Pages of 300 results without a reader kept almost 4 MiB each in memory."""
    counted: Any = CountedFirestore(firestore)
    replay = Replay(counted, shards=SHARDS)
    positions = await write(stack, "counted", 20)
    start: Position = (positions[0][0] - timedelta(seconds=1), "")
    until = (await firestore.now(), LAST_ID)

    await asyncio.gather(*(read(replay, "counted", start, until) for _ in range(5)))
    assert counted.pages == SHARDS

    await read(replay, "counted", start, until)
    assert counted.pages == 2 * SHARDS


class PartlyUnavailable:
    """A Firestore that fails to read shard 0 at once, and needs some turns of the event loop for other shards."""

    def __init__(self) -> None:
        self.completed = 0

    def name(self, path: str) -> str:
        """Return a full document name."""
        return path

    async def page(self, parent: str, query: Any) -> list[Any]:
        """Return no documents, or raise `Unavailable`."""
        del parent
        if query.where.composite_filter.filters[0].field_filter.value.integer_value == 0:
            raise Unavailable("shard 0 cannot be read")
        for _ in range(50):
            await asyncio.sleep(0)
        self.completed += 1
        return []


async def test_an_error_in_one_shard_is_raised_while_others_are_read() -> None:
    """Subscribers receive UNAVAILABLE, not an error about closing the reads of the other shards."""
    firestore: Any = PartlyUnavailable()
    start: Position = (datetime.now().astimezone(), "")

    with pytest.raises(Unavailable, match="shard 0 cannot be read"):
        await read(Replay(firestore, shards=SHARDS), "s", start, (start[0] + timedelta(seconds=1), LAST_ID))

    assert firestore.completed == SHARDS - 1


async def test_a_reader_can_be_cancelled_while_shards_are_read() -> None:
    """Cancelling it raises no other error."""
    firestore: Any = PartlyUnavailable()
    start: Position = (datetime.now().astimezone(), "")
    reading = asyncio.ensure_future(
        read(Replay(firestore, shards=SHARDS), "s", start, (start[0] + timedelta(seconds=1), LAST_ID))
    )
    await asyncio.sleep(0)
    reading.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reading
