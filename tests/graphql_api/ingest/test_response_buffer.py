"""Response buffers hold what a client has not read yet, within limits per client and per process."""

import asyncio

from graphql_api.ingest.response_buffer import ResponseBuffer, SharedLimit


async def test_bytes_are_read_in_the_order_of_the_writes() -> None:
    """The reader waits for the first write, and reads `b""` after the last."""
    buffer = ResponseBuffer(SharedLimit())
    reading = asyncio.create_task(read_all(buffer))
    await asyncio.sleep(0)
    for number in range(100_000):
        await buffer.write(b"%d\n" % number)
    buffer.close()

    assert await reading == b"".join(b"%d\n" % number for number in range(100_000))


async def test_a_write_waits_while_the_buffer_is_full() -> None:
    """It continues as soon as some bytes are read."""
    buffer = ResponseBuffer(SharedLimit(), max_bytes=100_000)
    await buffer.write(bytes(100_000))
    waiting = asyncio.create_task(buffer.write(b"more"))
    await asyncio.sleep(0)
    assert not waiting.done()

    await buffer.read()
    await waiting


async def test_each_buffer_has_a_minimum_while_the_shared_limit_is_reached() -> None:
    """Discarded bytes no longer count towards the shared limit."""
    limit = SharedLimit(1_000_000)
    large, small = ResponseBuffer(limit), ResponseBuffer(limit)
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


async def read_all(buffer: ResponseBuffer) -> bytes:
    """Return everything until the end."""
    content = b""
    while chunk := await buffer.read():
        content += chunk
    return content
