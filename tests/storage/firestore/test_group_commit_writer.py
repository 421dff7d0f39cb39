"""Writes that arrive together share a BatchWrite, and each has its own outcome."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from storage.documents import RateLimited, Unavailable
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError, InvalidWrite, PreconditionFailed
from storage.firestore.group_commit_writer import (
    MAX_BATCH_BYTES,
    MAX_BATCH_WRITES,
    MAX_CALLS,
    MAX_PENDING_WRITES,
    MIN_SPLIT_WRITES,
    GroupCommitWriter,
)
from tests.storage.firestore.scripted_firestore import DATABASE, ScriptedFirestore, serve

Code = grpc.StatusCode


@pytest.fixture
def server() -> ScriptedFirestore:
    """The Firestore that the test scripts."""
    return ScriptedFirestore()


@pytest.fixture
async def firestore(server: ScriptedFirestore) -> AsyncIterator[Firestore]:
    """A client of it."""
    async with serve(server) as client:
        yield client


@pytest.fixture
def writer(firestore: Firestore) -> GroupCommitWriter:
    """A writer whose deadline no test reaches."""
    return GroupCommitWriter(firestore, timeout_seconds=60)


def new_write(path: str, padding_bytes: int = 0) -> Any:
    """Return a write of the document at `path`."""
    return encoding.to_write(f"{DATABASE}/documents/{path}", {"padding": bytes(padding_bytes)})


def start(writer: GroupCommitWriter, *writes: Any) -> "asyncio.Task[list[Any]]":
    """Start to write, as one group."""
    return asyncio.create_task(writer.write_all(writes))


async def fill_calls(server: ScriptedFirestore, writer: GroupCommitWriter) -> list["asyncio.Task[list[Any]]"]:
    """Start as many calls as may be in flight."""
    tasks = []
    for number in range(MAX_CALLS):
        tasks.append(start(writer, new_write(str(number))))
        await server.wait_for(lambda batches, number=number: len(batches) == number + 1)  # type: ignore[misc]
    return tasks


def seconds(results: list[Any]) -> list[int]:
    """Return the update time of each result. The scripted server makes it from the path."""
    return [result.update_time.seconds for result in results]


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
    tasks = []
    for number in range(MAX_CALLS):
        tasks.append(start(writer, new_write(str(number))))
        await server.wait_for(lambda batches, number=number: len(batches) == number + 1)  # type: ignore[misc]
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
    server.respond(20)

    await asyncio.gather(*tasks)
    await writer.close()

    after = server.batches[MAX_CALLS:]
    assert {"8", "9"} <= set(after[0])
    own = [path for batch in after for path in batch if path not in ("8", "9")]
    assert own == [str(number) for number in range(10, 10 + 3 * MAX_BATCH_WRITES)], "each keeps the order of its writes"


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

    assert [batch for batch in server.batches[MAX_CALLS:] if len(batch) > 1] == [["5", "8", "9"]]
    assert sorted(server.batches[MAX_CALLS + 1 :]) == [["6"], ["7"]]


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


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (Code.ALREADY_EXISTS, PreconditionFailed),
        (Code.FAILED_PRECONDITION, PreconditionFailed),
        (Code.NOT_FOUND, PreconditionFailed),
        (Code.INVALID_ARGUMENT, InvalidWrite),
        (Code.OUT_OF_RANGE, InvalidWrite),
        (Code.PERMISSION_DENIED, FirestoreError),
        (Code.UNAUTHENTICATED, FirestoreError),
    ],
)
async def test_a_rejected_write_fails_alone(
    server: ScriptedFirestore, writer: GroupCommitWriter, code: grpc.StatusCode, error: type[FirestoreError]
) -> None:
    """The other writes of its call are committed, and it is not retried."""
    server.set_statuses({"2": [code]})
    server.respond()

    first, second, third = await writer.write_all([new_write(path) for path in ("1", "2", "3")])

    assert seconds([first, third]) == [1, 3]
    assert type(second) is error
    assert second.code is code
    assert server.batches == [["1", "2", "3"]]

    server.set_statuses({"2": [code]})
    server.respond()
    with pytest.raises(error, match="on purpose"):
        await writer.write(new_write("2"))


@pytest.mark.parametrize("code", [Code.ABORTED, Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE])
async def test_only_the_write_with_a_transient_status_is_retried(
    server: ScriptedFirestore, writer: GroupCommitWriter, code: grpc.StatusCode
) -> None:
    """It is retried until it is committed."""
    server.set_statuses({"2": [code, code]})
    server.respond(3)

    results = await writer.write_all([new_write(path) for path in ("1", "2", "3")])

    assert seconds(results) == [1, 2, 3]
    assert server.batches == [["1", "2", "3"], ["2"], ["2"]]


async def test_a_call_that_fails_with_a_transient_status_is_retried(
    server: ScriptedFirestore, writer: GroupCommitWriter
) -> None:
    """The caller is not told about it."""
    server.fail(Code.UNAVAILABLE)
    server.respond()

    assert seconds(await writer.write_all([new_write("1"), new_write("2")])) == [1, 2]
    assert server.batches == [["1", "2"]] * 2


async def test_a_rejected_call_fails_each_of_its_writes(server: ScriptedFirestore, writer: GroupCommitWriter) -> None:
    """Even a code that stands for a failed precondition says nothing about a single write. The next call is sent."""
    server.fail(Code.FAILED_PRECONDITION)

    outcomes = await writer.write_all([new_write("1"), new_write("2")])

    assert [type(outcome) for outcome in outcomes] == [FirestoreError] * 2
    server.respond()
    assert seconds([await writer.write(new_write("3"))]) == [3]


async def test_a_write_that_is_never_confirmed_is_unavailable_after_the_timeout(
    server: ScriptedFirestore, firestore: Firestore
) -> None:
    """Committed writes of the same group keep their result; the message has the last status."""
    writer = GroupCommitWriter(firestore, timeout_seconds=2)
    server.set_statuses({"2": [Code.RESOURCE_EXHAUSTED] * 1000})
    server.respond(1000)

    first, second = await writer.write_all([new_write("1"), new_write("2")])

    assert seconds([first]) == [1]
    assert isinstance(second, Unavailable)
    assert "within 2 s (last status: RESOURCE_EXHAUSTED)" in str(second)


async def test_a_silent_firestore_is_unavailable_after_the_timeout(
    server: ScriptedFirestore, firestore: Firestore
) -> None:
    """A queued write that has expired is not sent."""
    writer = GroupCommitWriter(firestore, timeout_seconds=0.2)
    stuck = []
    for number in range(MAX_CALLS):
        stuck.append(start(writer, new_write(str(number))))
        await server.wait_for(lambda batches, number=number: len(batches) == number + 1)  # type: ignore[misc]

    with pytest.raises(Unavailable, match=r"did not confirm the write within 0.2 s and may still apply it"):
        await writer.write(new_write("9"))

    assert all(isinstance(outcome, Unavailable) for (outcome,) in await asyncio.gather(*stuck))
    server.respond(MAX_CALLS)
    await writer.close()
    assert ["9"] not in server.batches


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


async def test_a_cancelled_caller_does_not_affect_others(server: ScriptedFirestore, writer: GroupCommitWriter) -> None:
    """Its write is in flight together with theirs."""
    cancelled, other = start(writer, new_write("1")), start(writer, new_write("2"))
    await server.wait_for(lambda batches: len(batches) == 1)

    cancelled.cancel()
    server.respond()

    assert seconds(await other) == [2]
    assert server.batches == [["1", "2"]]


async def test_close_waits_for_every_outcome(server: ScriptedFirestore, writer: GroupCommitWriter) -> None:
    """A write that was accepted is not dropped."""
    task = start(writer, new_write("1"))
    await server.wait_for(lambda batches: len(batches) == 1)
    closing = asyncio.create_task(writer.close())
    server.respond()

    await closing

    assert seconds(await task) == [1]


async def test_a_writer_knows_whether_its_last_batch_was_accepted(
    server: ScriptedFirestore, writer: GroupCommitWriter
) -> None:
    """Readiness depends on it. Contention and failed preconditions prove that Firestore accepts writes."""
    server.fail(Code.RESOURCE_EXHAUSTED)
    refused = start(writer, new_write("1"))
    await server.wait_for(lambda batches: len(batches) == 2)  # the second call is the retry
    after_refusal = writer.is_failing
    server.set_statuses({"2": [Code.ABORTED, Code.ALREADY_EXISTS]})
    server.respond(3)

    await asyncio.gather(refused, start(writer, new_write("2")))

    assert after_refusal
    assert not writer.is_failing
