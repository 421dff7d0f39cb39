"""Writing a result while others write it too: two instances of the function, one Firestore."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import grpc
import pytest
from google.cloud.firestore_v1.types.firestore import BatchWriteRequest, BatchWriteResponse

from storage.documents import Result, Statistics, Status, Unavailable, document_paths
from tests.triggers.machine import DATABASE, Machine
from triggers.store import Refused, Store

START = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
async def stores(machine: Machine) -> AsyncIterator[list[Store]]:
    """Two stores that share nothing but the Firestore."""
    host = f"127.0.0.1:{machine.firestore.port}"
    async with grpc.aio.insecure_channel(host) as one, grpc.aio.insecure_channel(host) as other:
        yield [Store(one, DATABASE), Store(other, DATABASE)]


def _result(sample_id: str, age: int) -> Result:
    return Result(
        "racer",
        sample_id,
        START + timedelta(seconds=age),
        0,
        Status.COMPUTED,
        timestamp=START,
        statistics=Statistics(1, float(age), 0.0, float(age), float(age)),
    )


async def test_the_newest_result_stays_whoever_writes_last(machine: Machine, stores: list[Store]) -> None:
    """Between looking and replacing another may have replaced: then the write is refused and one looks again."""
    random = Random(5)
    for _ in range(40):
        sample_id = str(uuid.uuid4())
        results = [_result(sample_id, age) for age in range(6)] * 2
        random.shuffle(results)

        await asyncio.gather(*(random.choice(stores).write_result(result) for result in results))

        snapshot = await machine.client.document(document_paths.result("racer", sample_id)).get()
        assert (snapshot.get("sample_update_time"), snapshot.get("mean")) == (START + timedelta(seconds=5), 5.0)


async def test_a_result_that_was_deleted_meanwhile_is_written(machine: Machine, stores: list[Store]) -> None:
    """Who deletes a result and asks again gets a new one, whatever was there before."""
    sample_id = str(uuid.uuid4())
    await stores[0].write_result(_result(sample_id, 3))
    await machine.client.document(document_paths.result("racer", sample_id)).delete()

    assert await stores[1].write_result(_result(sample_id, 2))
    assert not await stores[0].write_result(_result(sample_id, 1))


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, Refused),
        (grpc.StatusCode.OUT_OF_RANGE, Refused),
        (grpc.StatusCode.PERMISSION_DENIED, Unavailable),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Unavailable),
    ],
)
async def test_a_result_at_fault_is_refused_and_all_else_is_for_later(
    code: grpc.StatusCode, error: type[Exception]
) -> None:
    """No repetition cures a bad result; a permission or a quota somebody mends, and then it is written."""

    async def answer(request: Any, context: Any) -> Any:
        return BatchWriteResponse.pb()(status=[{"code": code.value[0], "message": "no"}], write_results=[{}])

    method = grpc.unary_unary_rpc_method_handler(
        answer, BatchWriteRequest.pb().FromString, BatchWriteResponse.pb().SerializeToString
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("google.firestore.v1.Firestore", {"BatchWrite": method})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(error, match="no"):
            await Store(channel, DATABASE).write_result(_result(str(uuid.uuid4()), 1))
    await server.stop(None)
