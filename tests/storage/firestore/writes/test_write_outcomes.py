"""Each write of a BatchWrite has its own outcome: a result, a rejection, or a timeout after retries."""

import asyncio

import grpc
import pytest

from storage.documents import Unavailable
from storage.firestore.client import Firestore
from storage.firestore.errors import (
    DamagedData,
    FirestoreError,
    InvalidWrite,
    PreconditionFailed,
)
from storage.firestore.messages import WriteResult
from storage.firestore.writes.group_commit_writer import MAX_CALLS, GroupCommitWriter
from tests.storage.firestore.scripted_firestore import ScriptedFirestore
from tests.storage.firestore.writes.numbered_writes import fill_calls, new_write, seconds, start

Code = grpc.StatusCode


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
        (Code.DATA_LOSS, DamagedData),
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
    assert second.status is code
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
    stuck = await fill_calls(server, writer)

    with pytest.raises(Unavailable, match=r"did not confirm the write within 0.2 s and may still apply it"):
        await writer.write(new_write("9"))

    assert all(isinstance(outcome, Unavailable) for (outcome,) in await asyncio.gather(*stuck))
    server.respond(MAX_CALLS)
    await writer.close()
    assert ["9"] not in server.batches


async def test_a_cancelled_caller_does_not_affect_others(server: ScriptedFirestore, writer: GroupCommitWriter) -> None:
    """Its write is in flight together with theirs."""
    cancelled, other = start(writer, new_write("1")), start(writer, new_write("2"))
    await server.wait_for(lambda batches: len(batches) == 1)

    cancelled.cancel()
    server.respond()

    assert seconds(await other) == [2]
    assert server.batches == [["1", "2"]]


@pytest.mark.parametrize("is_cancelled", [True, False], ids=["cancelled", "timed out"])
async def test_writes_whose_results_the_caller_does_not_get_are_reported(
    server: ScriptedFirestore, firestore: Firestore, is_cancelled: bool
) -> None:
    """A client can disconnect while its writes are in flight. Rejected and waiting writes are not reported."""
    writer = GroupCommitWriter(firestore, timeout_seconds=30 if is_cancelled else 0.2)
    server.set_statuses({"1": [Code.ALREADY_EXISTS], "2": [Code.UNAVAILABLE]})
    applied: list[int] = []
    group = [new_write(path) for path in ("0", "1", "2", "3")]
    caller = asyncio.create_task(writer.write_all(group, note_late=applied.append))
    await server.wait_for(lambda batches: len(batches) == 1)

    if is_cancelled:
        caller.cancel()
    await asyncio.wait([caller])
    assert not applied
    server.respond()
    await asyncio.wait(writer._calls)

    assert applied == [0, 3]
    assert caller.cancelled() or not any(isinstance(outcome, WriteResult) for outcome in caller.result())


async def test_results_before_a_cancellation_are_reported(server: ScriptedFirestore, writer: GroupCommitWriter) -> None:
    """The caller gets no results, because another write of its group has no outcome."""
    server.set_statuses({"2": [Code.UNAVAILABLE]})
    server.respond()
    applied: list[int] = []
    caller = asyncio.create_task(writer.write_all([new_write("1"), new_write("2")], note_late=applied.append))
    await server.wait_for(lambda batches: batches == [["1", "2"], ["2"]])

    caller.cancel()
    await asyncio.wait([caller])

    assert applied == [0]
    server.respond()


async def test_close_waits_for_every_outcome(server: ScriptedFirestore, writer: GroupCommitWriter) -> None:
    """A write that was accepted is not dropped."""
    task = start(writer, new_write("1"))
    await server.wait_for(lambda batches: len(batches) == 1)
    closing = asyncio.create_task(writer.close())
    server.respond()

    await closing

    assert seconds(await task) == [1]
