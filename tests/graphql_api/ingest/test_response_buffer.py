"""Response buffers hold what a client has not read yet, within limits per client and per process."""

import asyncio
import contextlib

from graphql_api.ingest.response_buffer import ResponseBuffer, SharedLimit
from tests.stack import PATIENCE_SECONDS


async def test_bytes_are_read_in_the_order_of_the_writes() -> None:
    """The reader waits for the first write, and reads `b""` after the last."""
    buffer = ResponseBuffer(SharedLimit(), "a")
    reading = asyncio.create_task(read_all(buffer))
    await asyncio.sleep(0)
    for number in range(100_000):
        await buffer.write(b"%d\n" % number)
    buffer.close()

    assert await reading == b"".join(b"%d\n" % number for number in range(100_000))


async def test_a_write_waits_while_the_buffer_is_full() -> None:
    """It continues as soon as some bytes are read."""
    buffer = ResponseBuffer(SharedLimit(), "a", max_bytes=100_000)
    await buffer.write(bytes(100_000))
    waiting = asyncio.create_task(buffer.write(b"more"))
    await asyncio.sleep(0)
    assert not waiting.done()

    await buffer.read()
    await waiting


async def test_each_buffer_has_a_minimum_while_the_shared_limit_is_reached() -> None:
    """Discarded bytes no longer count towards the shared limit."""
    limit = SharedLimit(1_000_000)
    large, small = ResponseBuffer(limit, "a"), ResponseBuffer(limit, "b")
    await large.write(bytes(1_000_000))
    await small.write(bytes(70_000))
    waiting = asyncio.create_task(small.write(b"more"))
    await asyncio.sleep(0)
    assert not waiting.done()

    large.discard()
    chunk = await small.read()
    await waiting
    small.discard()

    assert len(chunk) == 65_536
    assert limit.remaining_bytes == 1_000_000


async def test_the_buffers_of_a_submitter_leave_as_much_to_others_as_they_use() -> None:
    """Clients that do not read their responses would otherwise stop the streams of other submitters."""
    limit = SharedLimit(1_000_000)
    for _ in range(4):
        unread = ResponseBuffer(limit, "a")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                while True:
                    await unread.write(bytes(10_000))
    other = ResponseBuffer(limit, "b")

    async with asyncio.timeout(PATIENCE_SECONDS):
        for _ in range(10):
            await other.write(bytes(10_000))


async def read_all(buffer: ResponseBuffer) -> bytes:
    """Return everything until the end."""
    content = b""
    while chunk := await buffer.read():
        content += chunk
    return content
