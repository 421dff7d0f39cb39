"""Writes that arrive together share a BatchWrite, within limits, and submitters take turns."""

import asyncio

import pytest

from storage.documents import RateLimited, Unavailable
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.writes import write_queue
from storage.firestore.writes.group_commit_writer import (
    MAX_BATCH_WRITES,
    MAX_CALLS,
    MAX_PENDING_WRITES,
    MIN_SPLIT_WRITES,
    GroupCommitWriter,
)
from storage.firestore.writes.write_queue import MAX_BATCH_BYTES, MIN_SHARE_WRITES
from tests.storage.firestore.one_method import DATABASE
from tests.storage.firestore.scripted_firestore import ScriptedFirestore
from tests.storage.firestore.writes.numbered_writes import fill_calls, new_write, seconds, start


async def test_writes_during_a_call_share_the_next_one(server: ScriptedFirestore, writer: GroupCommitWriter) -> None:
    """A single write does not wait for others, and each outcome belongs to its own write."""
    first = start(writer, new_write("1"))
    await server.wait_for(lambda batches: len(batches) == 1)
    others = [start(writer, new_write("2")), start(writer, new_write("3"))]
    await server.wait_for(lambda batches: len(batches) == 2)
    server.respond(2)

    assert [seconds(results) for results in await asyncio.gather(first, *others)] == [[1], [2], [3]]
    assert server.batches == [["1"], ["2", "3"]]


async def test_calls_in_flight_are_limited(server: ScriptedFirestore, writer: GroupCommitWriter) -> None:
    """Writes that arrive while all calls are in flight wait for the first that returns."""
    tasks = await fill_calls(server, writer)
    tasks += [start(writer, new_write("8")), start(writer, new_write("9"))]
    server.respond()
    await server.wait_for(lambda batches: len(batches) > MAX_CALLS)

    server.respond(MAX_CALLS)
    await asyncio.gather(*tasks)
    assert server.batches[MAX_CALLS:] == [["8", "9"]]


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        (MIN_SPLIT_WRITES, [MIN_SPLIT_WRITES]),
        (MIN_SPLIT_WRITES + 1, [MIN_SPLIT_WRITES, 1]),
        (10 * MAX_CALLS * MIN_SPLIT_WRITES, [10 * MIN_SPLIT_WRITES] * MAX_CALLS),
    ],
)
async def test_many_writes_are_split_evenly_between_the_calls(
    server: ScriptedFirestore, writer: GroupCommitWriter, count: int, sizes: list[int]
) -> None:
    """This process and Firestore then work at the same time; few writes are not worth a second call."""
    server.respond(MAX_CALLS)

    results = await writer.write_all([new_write(str(number)) for number in range(count)])

    assert seconds(results) == list(range(count))
    assert sorted(map(len, server.batches), reverse=True) == sizes


async def test_a_document_is_written_at_most_once_per_call(
    server: ScriptedFirestore, writer: GroupCommitWriter
) -> None:
    """Firestore would reject the whole call."""
    server.respond(3)

    results = await writer.write_all([new_write(path) for path in ("1", "2", "1", "3", "1")])

    assert seconds(results) == [1, 2, 1, 3, 1]
    assert sorted(server.batches, key=len, reverse=True) == [["1", "2", "3"], ["1"], ["1"]]


async def test_a_deletion_and_a_write_of_a_document_are_in_different_calls(
    server: ScriptedFirestore, writer: GroupCommitWriter
) -> None:
    """A deletion names its document in another field of the message."""
    server.respond(2)

    await writer.write_all([new_write("1"), encoding.to_delete(f"{DATABASE}/documents/1")])

    assert server.batches == [["1"], ["1"]]


async def test_a_call_stays_within_the_limits_of_firestore(
    server: ScriptedFirestore, writer: GroupCommitWriter
) -> None:
    """A call has at most 500 writes and 9 MiB."""
    server.respond(20)
    third = MAX_BATCH_BYTES // 3 + 1

    await writer.write_all([new_write(str(number)) for number in range(3 * MAX_BATCH_WRITES)])
    assert [len(batch) for batch in server.batches] == [MAX_BATCH_WRITES] * 3

    server.batches.clear()
    await writer.write_all([new_write(str(number), third) for number in range(5)])
    assert sorted(len(batch) for batch in server.batches) == [1, 2, 2]


async def test_submitters_take_turns(server: ScriptedFirestore, writer: GroupCommitWriter) -> None:
    """The write of a submitter is in the next batch, however many writes of others are in the queue before it."""
    tasks = await fill_calls(server, writer)
    flood = [new_write(str(number)) for number in range(10, 10 + 3 * MAX_BATCH_WRITES)]
    tasks.append(asyncio.create_task(writer.write_all(flood, "flood")))
    tasks += [asyncio.create_task(writer.write_all([new_write(path)], path)) for path in ("8", "9")]
    await asyncio.sleep(0)
    server.respond(100)

    await asyncio.gather(*tasks)
    await writer.close()

    after = server.batches[MAX_CALLS:]
    assert {"8", "9"} <= set(after[0])
    own = [path for batch in after for path in batch if path not in ("8", "9")]
    assert own == [str(number) for number in range(10, 10 + 3 * MAX_BATCH_WRITES)], "each keeps the order of its writes"


async def test_a_submitter_without_a_write_in_flight_gets_a_call_of_its_own(
    server: ScriptedFirestore, writer: GroupCommitWriter
) -> None:
    """The calls of others do not delay it. Its further writes wait, like those of others."""
    tasks = await fill_calls(server, writer)
    tasks += [start(writer, new_write("5")), asyncio.create_task(writer.write_all([new_write("8")], "other"))]
    await server.wait_for(lambda batches: len(batches) > MAX_CALLS)
    tasks += [start(writer, new_write("6")), asyncio.create_task(writer.write_all([new_write("9")], "other"))]
    await asyncio.sleep(0)
    server.respond(20)

    await asyncio.gather(*tasks)
    await writer.close()

    assert server.batches[MAX_CALLS] == ["8"]
    assert sorted(path for batch in server.batches[MAX_CALLS + 1 :] for path in batch) == ["5", "6", "9"]


async def test_a_submitter_has_few_writes_in_flight_while_others_write(
    server: ScriptedFirestore, writer: GroupCommitWriter
) -> None:
    """A write that arrives meanwhile would wait for them. The calls continue until all writes have their outcomes."""
    flood = [new_write(str(number)) for number in range(10, 10 + MAX_BATCH_WRITES)]
    writing = asyncio.gather(writer.write_all(flood, "flood"), writer.write_all([new_write("8")], "other"))
    await server.wait_for(lambda batches: bool(batches))
    last = asyncio.create_task(writer.write_all([new_write("9")], "third"))
    await server.wait_for(lambda batches: "9" in batches[-1])

    assert sum(map(len, server.batches)) <= MIN_SHARE_WRITES + 2
    server.respond(1_000)
    await asyncio.gather(writing, last)


async def test_a_submitter_has_its_share_until_its_last_write_is_sent(
    server: ScriptedFirestore, writer: GroupCommitWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many writes that arrived together are sent for longer than the time after which a submitter counts as idle."""
    monkeypatch.setattr(write_queue, "QUICK_RATIO", 0)  # the share does not grow
    loop = asyncio.get_running_loop()
    real_time, passed = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: real_time() + passed)
    server.respond(10_000)
    flood = [new_write(str(number)) for number in range(10, 10 + 20 * MAX_BATCH_WRITES)]
    writing = asyncio.create_task(writer.write_all(flood, "flood"))
    for _ in range(10):
        await writer.write(new_write("8"), "other")
        passed += write_queue.TOGETHER_SECONDS / 2
    sizes = [len(batch) for batch in server.batches]
    await writing

    assert sum(sizes) < len(flood), "the flood was still writing"
    assert max(sizes[1:]) <= MIN_SHARE_WRITES + 1


async def test_a_large_write_does_not_hold_up_the_small_ones_of_others(
    server: ScriptedFirestore, writer: GroupCommitWriter
) -> None:
    """A batch that has no space for it still takes theirs."""
    tasks = await fill_calls(server, writer)
    half = MAX_BATCH_BYTES // 2 + 1
    large = [new_write(str(number), half) for number in (5, 6, 7)]
    tasks.append(asyncio.create_task(writer.write_all(large, "large")))
    tasks += [asyncio.create_task(writer.write_all([new_write(path)], "small")) for path in ("8", "9")]
    await asyncio.sleep(0)
    server.respond(20)

    await asyncio.gather(*tasks)

    # Calls at the same time can arrive in any order.
    assert sorted(server.batches[MAX_CALLS:]) == [["5", "8", "9"], ["6"], ["7"]]


async def test_the_writes_of_one_submitter_are_limited(server: ScriptedFirestore, writer: GroupCommitWriter) -> None:
    """Beyond the limit a write fails at once. Other submitters are not affected."""
    tasks = await fill_calls(server, writer)
    flood = [new_write(str(number)) for number in range(10, 11 + MAX_PENDING_WRITES)]
    tasks.append(asyncio.create_task(writer.write_all(flood, "flood")))
    await asyncio.sleep(0)

    with pytest.raises(RateLimited, match="too many writes of this submitter"):
        await writer.write(new_write("9"), "flood")
    tasks.append(asyncio.create_task(writer.write_all([new_write("8")], "other")))

    server.respond(1000)
    await asyncio.gather(*tasks)
    assert seconds([await writer.write(new_write("9"), "flood")]) == [9]


async def test_pending_bytes_are_limited(server: ScriptedFirestore, firestore: Firestore) -> None:
    """A write beyond the limit fails at once, but a single write of any size is sent."""
    writer = GroupCommitWriter(firestore, timeout_seconds=60, max_pending_bytes=1000)
    large = start(writer, new_write("1", 2000))
    await server.wait_for(lambda batches: len(batches) == 1)

    with pytest.raises(Unavailable, match="too many writes are waiting for Firestore"):
        await writer.write(new_write("2"))

    assert writer.pending[0] == 1
    assert writer.pending[1] > 2000
    server.respond(2)
    await large
    assert writer.pending == (0, 0)
    assert seconds([await writer.write(new_write("2"))]) == [2]


async def test_the_pending_bytes_of_one_submitter_are_limited_to_half(
    server: ScriptedFirestore, firestore: Firestore
) -> None:
    """The other half is for other submitters."""
    writer = GroupCommitWriter(firestore, timeout_seconds=60, max_pending_bytes=10_000)
    first = asyncio.create_task(writer.write_all([new_write("1", 3_000)], "flood"))
    await server.wait_for(lambda batches: len(batches) == 1)

    with pytest.raises(RateLimited, match="too many writes of this submitter"):
        await writer.write(new_write("2", 3_000), "flood")
    other = asyncio.create_task(writer.write_all([new_write("3", 3_000)], "other"))

    server.respond(2)
    assert [seconds(results) for results in await asyncio.gather(first, other)] == [[1], [3]]
