"""Answers wait for a client that reads late, within bounds for one client and for all of them."""

import asyncio

from graphql_api.ingest.response_buffer import Room, Spool


async def test_what_is_put_comes_out_and_then_the_end() -> None:
    """However it is cut, and also for one who waits already."""
    spool = Spool(Room())
    taking = asyncio.create_task(_take_all(spool))
    await asyncio.sleep(0)
    for number in range(100_000):
        await spool.put(b"%d\n" % number)
    spool.end()

    assert await taking == b"".join(b"%d\n" % number for number in range(100_000))


async def test_who_puts_more_than_the_bound_waits_until_some_is_taken() -> None:
    """And no longer."""
    spool = Spool(Room(), max_bytes=100_000)
    await spool.put(bytes(100_000))
    waiting = asyncio.create_task(spool.put(b"more"))
    await asyncio.sleep(0)
    assert not waiting.done()

    await spool.take()
    await waiting


async def test_each_has_a_little_when_all_together_hold_too_much() -> None:
    """And what is discarded is room for others."""
    room = Room(1_000_000)
    greedy, modest = Spool(room), Spool(room)
    await greedy.put(bytes(1_000_000))
    await modest.put(bytes(70_000))
    waiting = asyncio.create_task(modest.put(b"more"))
    await asyncio.sleep(0)
    assert not waiting.done()

    greedy.discard()
    taken = await modest.take()
    await waiting
    modest.discard()

    assert len(taken) == 65_536
    assert room.left == 1_000_000


async def _take_all(spool: Spool) -> bytes:
    taken = b""
    while chunk := await spool.take():
        taken += chunk
    return taken
