"""NDJSON is split wherever it is cut, keeps its line numbers, and leaves others their turn."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from graphql_api.graphql_server import MemoryBudget
from graphql_api.ingest import ndjson
from storage.documents import TooLarge

LONGEST = 8


async def cut(body: bytes, size: int) -> AsyncIterator[bytes]:
    """Yield a body in pieces, as if all of it were there already."""
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def split(body: bytes, size: int) -> list[ndjson.Line]:
    """Return the lines of a body that comes in pieces."""
    return [line async for batch in ndjson.split(cut(body, size), LONGEST, MemoryBudget(LONGEST)) for line in batch]


@pytest.mark.parametrize("size", range(1, 30))
async def test_a_line_is_what_it_is_however_it_is_cut(size: int) -> None:
    """Blank lines are counted and passed over; the last one needs no end."""
    assert await split(b"one\n\n \t\r\ntwo\r\n\nabcdefgh\nthree", size) == [
        (1, b"one"),
        (4, b"two\r"),
        (6, b"abcdefgh"),
        (7, b"three"),
    ]


@pytest.mark.parametrize("size", range(1, 30))
async def test_a_line_that_is_too_long_harms_no_other(size: int) -> None:
    """In the middle and at the end."""
    seen = await split(b"one\nabcdefghi\ntwo\n" + b"x" * 50, size)

    assert [(number, isinstance(line, TooLarge) or line) for number, line in seen] == [
        (1, b"one"),
        (2, True),
        (3, b"two"),
        (4, True),
    ]


@pytest.mark.parametrize("blank", [b"\n", b" \r\n"])
async def test_a_flood_of_blank_lines_leaves_others_their_turn(blank: bytes) -> None:
    """Nothing is ever waited for, so nobody else would come to run."""
    loop = asyncio.get_running_loop()
    max_wait_seconds = 0.0

    async def wait_your_turn() -> None:
        nonlocal max_wait_seconds
        while True:
            before = loop.time()
            await asyncio.sleep(0)
            max_wait_seconds = max(max_wait_seconds, loop.time() - before)

    other = asyncio.create_task(wait_your_turn())
    seen = [
        batch
        async for batch in ndjson.split(cut(blank * 2_000_000 + b"last", 64 * 1024), LONGEST, MemoryBudget(LONGEST))
    ]
    other.cancel()

    assert seen == [[(2_000_001, b"last")]]
    assert max_wait_seconds < 0.5
