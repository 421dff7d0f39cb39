"""NDJSON is split at newlines, keeps its line numbers, and lets other tasks run."""

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import pytest
from starlette.requests import ClientDisconnect

from graphql_api.budgets.loop_turns import LoopTurns
from graphql_api.budgets.memory_budget import MIN_RESERVED_BYTES, MemoryBudget, Reservation
from graphql_api.ingest import ndjson
from storage.documents import TooLarge, Unavailable
from tests.graphql_api.turns import counted_turns
from tests.stack import PATIENCE_SECONDS

MAX_LINE_BYTES = 8


class Body:
    """A body that arrives in chunks of `size` without ever waiting."""

    def __init__(self, content: bytes, size: int, received_bytes: int | None = None) -> None:
        self._content = content
        self._size = size
        self.received_bytes = len(content) if received_bytes is None else received_bytes
        self.chunks_read = 0
        self.is_disconnected = False

    def check_client(self) -> None:
        """Raise if the test has disconnected the client."""
        if self.is_disconnected:
            raise ClientDisconnect

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the chunks."""
        for start in range(0, len(self._content), self._size):
            self.chunks_read += 1
            yield self._content[start : start + self._size]


def lines_of(body: Body) -> AsyncGenerator[list[ndjson.Line], None]:
    """Split a body."""
    return ndjson.split(body, MAX_LINE_BYTES, reservation(), LoopTurns().of(""))


def reservation() -> Reservation:
    """Return a reservation that is never refused."""
    return Reservation(MemoryBudget(MAX_LINE_BYTES), None)


async def split(body: bytes, size: int) -> list[ndjson.Line]:
    """Return the lines of a body that arrives in chunks of `size`."""
    return [line async for batch in lines_of(Body(body, size)) for line in batch]


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
    """A body that never waits and yields no batch gives other tasks many turns."""
    async with counted_turns() as turns:
        batches = [batch async for batch in lines_of(Body(blank * 2_000_000 + b"last", 2**20))]

    assert batches == [[(2_000_001, b"last")]]
    assert turns.count > 20


async def test_the_lines_of_a_compressed_body_are_limited() -> None:
    """A kilobyte can decode to millions of lines. Each received byte counts for one line."""
    body = Body(b"\n" * 2_000_000, 2**16, received_bytes=1000)

    with pytest.raises(TooLarge, match="expected at most 100,000 lines in a compressed body"):
        _ = [batch async for batch in lines_of(body)]

    assert body.chunks_read == 2


async def test_the_end_of_the_client_is_noticed_within_a_chunk() -> None:
    """The rest of the chunk is not processed."""
    body = Body(b"{}\n" * 100_000, 2**20)
    batches = lines_of(body)
    await anext(batches)

    body.is_disconnected = True

    with pytest.raises(ClientDisconnect):
        await anext(batches)


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

    assert [number async for number in ndjson.process(read(), process, reservation())] == [0, 1, 2]


async def test_a_stream_is_refused_if_there_is_no_memory_for_its_first_lines() -> None:
    """It has no lines in flight whose memory it could wait for."""
    memory_budget = MemoryBudget(MAX_LINE_BYTES)

    async def batches() -> AsyncGenerator[list[ndjson.Line], None]:
        yield [(1, bytes(MIN_RESERVED_BYTES + 1))]

    async def process(batch: Sequence[ndjson.Line]) -> int:
        return len(batch)

    with memory_budget.new_reservation() as other, memory_budget.new_reservation() as own:
        other.resize(MAX_LINE_BYTES)
        with pytest.raises(Unavailable):
            async with asyncio.timeout(PATIENCE_SECONDS):
                _ = [result async for result in ndjson.process(batches(), process, own)]


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

    results = ndjson.process(read(), process, reservation())
    first = asyncio.ensure_future(anext(results))
    for _ in range(100):
        await asyncio.sleep(0)
    assert batches_read == 6  # five in flight, one waiting for space

    may_end.set()
    assert await first == 100
    assert [await anext(results) for _ in range(19)] == [100] * 19
    with pytest.raises(ConnectionError, match="the client has gone"):
        await anext(results)


async def test_the_end_of_a_client_leaves_no_reference_cycle() -> None:
    """Garbage collections of the API are rare. What waits for one grew the process by 20 MiB for 1,500 clients."""
    errors: list[weakref.ref[ClientDisconnect]] = []

    def disconnect() -> ClientDisconnect:
        error = ClientDisconnect()
        errors.append(weakref.ref(error))
        return error

    async def batches() -> AsyncGenerator[list[ndjson.Line], None]:
        yield [(1, b"{}")]
        raise disconnect()

    async def count(batch: Sequence[ndjson.Line]) -> int:
        return len(batch)

    gc.disable()
    try:
        with contextlib.suppress(ClientDisconnect):
            async for _ in ndjson.process(batches(), count, reservation()):
                pass
        assert [error() for error in errors] == [None]
    finally:
        gc.enable()
