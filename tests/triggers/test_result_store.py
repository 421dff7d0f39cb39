"""Results that several instances of the function write at the same time, and the number of writes."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import grpc.aio
import pytest
from msgspec.structs import replace

from storage.documents import RateLimited, Result, Statistics, Status, Unavailable, document_paths
from storage.firestore.client import Firestore
from storage.firestore.errors import InvalidWrite
from storage.firestore.writes import group_commit_writer
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from tests.infra.firestore.server_process import FirestoreProcess, call_count
from tests.ports import free_port
from tests.storage.firestore.scripted_firestore import ScriptedFirestore, serve
from tests.triggers.machine import DATABASE, Machine
from triggers.result_store import ResultStore

START = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
async def stores(machine: Machine) -> AsyncIterator[list[ResultStore]]:
    """Two stores with a channel each to the same Firestore."""
    host = f"127.0.0.1:{machine.firestore.port}"
    async with grpc.aio.insecure_channel(host) as one, grpc.aio.insecure_channel(host) as other:
        yield [new_store(Firestore(channel, DATABASE, timeout_seconds=30)) for channel in (one, other)]


def new_store(firestore: Firestore, timeout_seconds: float = 30) -> ResultStore:
    """Return a store as the function composes it."""
    return ResultStore(firestore, GroupCommitWriter(firestore, timeout_seconds=timeout_seconds))


def new_result(sample_id: str, age: int) -> Result:
    """Return a result of the sample as it was `age` seconds after the start; `age` is also its mean."""
    return Result(
        "racer",
        sample_id,
        START + timedelta(seconds=age),
        0,
        Status.COMPUTED,
        timestamp=START,
        statistics=Statistics(1, float(age), 0.0, float(age), float(age)),
    )


async def test_the_newest_result_remains_in_any_order_of_writes(machine: Machine, stores: list[ResultStore]) -> None:
    """A result can be replaced between the read and the write of another one, which then starts over."""
    random = Random(5)
    for _ in range(40):
        sample_id = str(uuid.uuid4())
        results = [new_result(sample_id, age) for age in range(6)] * 2
        random.shuffle(results)

        await asyncio.gather(*(random.choice(stores).write(result) for result in results))

        snapshot = await machine.client.document(document_paths.result("racer", sample_id)).get()
        assert (snapshot.get("sample_update_time"), snapshot.get("mean")) == (START + timedelta(seconds=5), 5.0)


async def test_only_the_result_of_the_expired_sample_is_kept(
    machine: Machine, stores: list[ResultStore], submitter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another instance writes the result of the new sample after this instance has found the earlier result."""
    sample_id, path = str(uuid.uuid4()), f"{document_paths.submitter(submitter)}/{document_paths.RESULTS}"
    earlier, later, latest = (
        replace(new_result(sample_id, age), submitter=submitter, submitted_at=START + timedelta(seconds=submitted))
        for age, submitted in ((0, 0), (10, 10), (11, 10))
    )
    await stores[0].write(earlier)
    keep = stores[0]._copy_with_new_id

    async def keep_later(*arguments: Any) -> list[Any]:
        monkeypatch.undo()
        assert await stores[1].write(later)
        return await keep(*arguments)

    monkeypatch.setattr(stores[0], "_copy_with_new_id", keep_later)

    assert await stores[0].write(latest)

    stored = [document async for document in machine.client.collection(path).stream()]
    assert sorted((document.id == sample_id, document.get("mean")) for document in stored) == [(False, 0), (True, 11)]


async def test_the_result_of_the_expired_sample_is_kept_and_replaced_in_one_commit(
    machine: Machine, stores: list[ResultStore], submitter: str
) -> None:
    """If only one of the writes was stored, the hourly archive could count the earlier result twice."""
    sample_id, path = str(uuid.uuid4()), f"{document_paths.submitter(submitter)}/{document_paths.RESULTS}"
    earlier, later = (
        replace(new_result(sample_id, age), submitter=submitter, submitted_at=START + timedelta(seconds=age))
        for age in (0, 10)
    )
    await stores[0].write(earlier)

    await stores[0].write(later)

    stored = {each.get("mean"): each async for each in machine.client.collection(path).stream()}
    assert stored.keys() == {0, 10}
    assert stored[0].create_time == stored[10].update_time
    assert "first_computed_at" in stored[0].to_dict()
    assert "first_computed_at" not in stored[10].to_dict()


async def test_the_results_of_a_submitter_do_not_use_the_share_of_others(
    stores: list[ResultStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer knows whose result it writes. Here each submitter may have only one result without an outcome."""
    monkeypatch.setattr(group_commit_writer, "MAX_PENDING_WRITES", 0)
    mine, other, third = (new_result(str(uuid.uuid4()), 0) for _ in range(3))

    written = await asyncio.gather(stores[0].write(mine), stores[0].write(replace(other, submitter="rival")))
    assert all(written)
    with pytest.raises(RateLimited, match="too many writes of this submitter"):
        await asyncio.gather(stores[0].write(other), stores[0].write(third))


async def test_a_deleted_result_is_written_again(machine: Machine, stores: list[ResultStore]) -> None:
    """A result of any update time is written then; an older one is not."""
    sample_id = str(uuid.uuid4())
    await stores[0].write(new_result(sample_id, 3))
    await machine.client.document(document_paths.result("racer", sample_id)).delete()

    assert await stores[1].write(new_result(sample_id, 2))
    assert not await stores[0].write(new_result(sample_id, 1))


async def test_a_series_is_registered_once_and_not_by_a_write_per_sample(tmp_path: Path) -> None:
    """Each write is a call here, because it waits for the one before. Firestore counts refused writes too."""
    http_port = free_port()
    firestore = FirestoreProcess(tmp_path, "--http-port", str(http_port))
    firestore.start()
    try:
        async with grpc.aio.insecure_channel(firestore.address) as channel:
            store = new_store(Firestore(channel, DATABASE, timeout_seconds=30))
            for age in range(50):
                result = replace(new_result(str(uuid.uuid4()), age), labels={"sensor": "a"})
                assert await store.write(result)

        assert await asyncio.to_thread(call_count, http_port, "BatchWrite") == 50 + 1
    finally:
        firestore.close()


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidWrite),
        (grpc.StatusCode.OUT_OF_RANGE, InvalidWrite),
        (grpc.StatusCode.PERMISSION_DENIED, Unavailable),
    ],
)
async def test_only_an_invalid_result_is_rejected_for_good(code: grpc.StatusCode, error: type[Exception]) -> None:
    """No retry fixes an invalid result. An operator can grant a permission, and then the result is written."""
    scripted = ScriptedFirestore()
    sample_id = str(uuid.uuid4())
    scripted.set_statuses({sample_id: [code]})
    scripted.respond()
    async with serve(scripted) as firestore:
        with pytest.raises(error, match="on purpose"):
            await new_store(firestore).write(new_result(sample_id, 1))

    assert len(scripted.batches) == 1


@pytest.mark.parametrize(
    ("code", "timeout_seconds", "message"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, 30, "on purpose"),
        (grpc.StatusCode.INVALID_ARGUMENT, 30, "on purpose"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 0.2, "did not confirm the write within"),
    ],
)
async def test_a_failed_call_is_unavailable(code: grpc.StatusCode, timeout_seconds: float, message: str) -> None:
    """A call carries results of several events, so its status says nothing about a single result."""
    scripted = ScriptedFirestore()
    for _ in range(1000):
        scripted.fail(code)
    async with serve(scripted) as firestore:
        with pytest.raises(Unavailable, match=message):
            await new_store(firestore, timeout_seconds).write(new_result(str(uuid.uuid4()), 1))


async def test_a_transient_status_is_retried_before_the_event_fails() -> None:
    """The event does not have to be redelivered."""
    scripted = ScriptedFirestore()
    sample_id = str(uuid.uuid4())
    scripted.set_statuses({sample_id: [grpc.StatusCode.RESOURCE_EXHAUSTED]})
    scripted.respond(2)
    async with serve(scripted) as firestore:
        assert await new_store(firestore).write(new_result(sample_id, 1))

    assert scripted.batches == [[sample_id]] * 2


async def test_a_quota_that_remains_exhausted_is_unavailable() -> None:
    """After the timeout the event is redelivered."""
    scripted = ScriptedFirestore()
    sample_id = str(uuid.uuid4())
    scripted.set_statuses({sample_id: [grpc.StatusCode.RESOURCE_EXHAUSTED] * 1000})
    scripted.respond(1000)
    async with serve(scripted) as firestore:
        with pytest.raises(Unavailable, match="did not confirm the write within"):
            await new_store(firestore, timeout_seconds=0.2).write(new_result(sample_id, 1))
