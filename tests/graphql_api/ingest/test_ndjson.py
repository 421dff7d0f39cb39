"""NDJSON is split at newlines, keeps its line numbers, and lets other tasks run."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import pytest

from graphql_api.budgets.memory_budget import MemoryBudget
from graphql_api.ingest import ndjson
from storage.documents import TooLarge

MAX_LINE_BYTES = 8


async def cut(body: bytes, size: int) -> AsyncIterator[bytes]:
    """Yield a body in chunks of `size` without ever waiting."""
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def split(body: bytes, size: int) -> list[ndjson.Line]:
    """Return the lines of a body that arrives in chunks of `size`."""
    batches = ndjson.split(cut(body, size), MAX_LINE_BYTES, MemoryBudget(MAX_LINE_BYTES))
    return [line async for batch in batches for line in batch]


@pytest.mark.parametrize("size", range(1, 30))
async def test_chunks_do_not_affect_lines(size: int) -> None:
    """Blank lines are counted and skipped; the last line needs no newline."""
    assert await split(b"one\n\n \t\r\ntwo\r\n\nabcdefgh\nthree", size) == [
        (1, b"one"),
        (4, b"two\r"),
        (6, b"abcdefgh"),
        (7, b"three"),
    ]


@pytest.mark.parametrize("size", range(1, 30))
async def test_a_line_that_is_too_long_affects_no_other_line(size: int) -> None:
    """It is reported in the middle and at the end of a body."""
    lines = await split(b"one\nabcdefghi\ntwo\n" + b"x" * 50, size)

    assert [(number, isinstance(line, TooLarge) or line) for number, line in lines] == [
        (1, b"one"),
        (2, True),
        (3, b"two"),
        (4, True),
    ]


@pytest.mark.parametrize("blank", [b"\n", b" \r\n"])
async def test_blank_lines_let_other_tasks_run(blank: bytes) -> None:
    """A body that never waits and yields no batch gives other tasks a turn after each chunk."""
    chunks_read = 0
    read_per_turn: list[int] = []

    async def count() -> AsyncIterator[bytes]:
        nonlocal chunks_read
        async for chunk in cut(blank * 2_000_000 + b"last", 64 * 1024):
            chunks_read += 1
            yield chunk

    async def record_turns() -> None:
        before = 0
        while True:
            read_per_turn.append(chunks_read - before)
            before = chunks_read
            await asyncio.sleep(0)

    other = asyncio.create_task(record_turns())
    batches = [batch async for batch in ndjson.split(count(), MAX_LINE_BYTES, MemoryBudget(MAX_LINE_BYTES))]
    other.cancel()

    assert batches == [[(2_000_001, b"last")]]
    assert max(read_per_turn) == 1


async def test_results_are_in_the_order_of_the_lines() -> None:
    """A batch that is processed quickly waits for the batches before it."""
    first_may_end = asyncio.Event()

    async def read() -> AsyncGenerator[list[ndjson.Line], None]:
        for number in range(3):
            yield [(number, b"{}")]

    async def process(batch: Sequence[ndjson.Line]) -> int:
        (number, _), *_ = batch
        if number == 0:
            await first_may_end.wait()
        elif number == 2:
            first_may_end.set()
        return number

    assert [number async for number in ndjson.process(read(), process)] == [0, 1, 2]


async def test_lines_in_flight_are_limited() -> None:
    """Nothing more is read until the oldest batch is done. An error of the body follows the last result."""
    may_end = asyncio.Event()
    batches_read = 0

    async def read() -> AsyncGenerator[list[ndjson.Line], None]:
        nonlocal batches_read
        for number in range(20):
            batches_read += 1
            yield [(number, b"{}")] * 100
        raise ConnectionError("the client has gone")

    async def process(batch: Sequence[ndjson.Line]) -> int:
        await may_end.wait()
        return len(batch)

    results = ndjson.process(read(), process)
    first = asyncio.ensure_future(anext(results))
    for _ in range(100):
        await asyncio.sleep(0)
    assert batches_read == 6  # five in flight, one waiting for space

    may_end.set()
    assert await first == 100
    assert [await anext(results) for _ in range(19)] == [100] * 19
    with pytest.raises(ConnectionError, match="the client has gone"):
        await anext(results)
