"""A page of documents is complete, or its call fails or ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import grpc.aio

from storage.firestore.client import Firestore
from storage.firestore.messages import RunQueryRequest, RunQueryResponse, StructuredQuery
from storage.firestore.reads.page_reader import OPTIONS, PageReader
from tests.storage.firestore import one_method


class Queries:
    """A RunQuery that returns three documents. The first `failures` calls fail after the second document."""

    def __init__(self, failures: int = 0) -> None:
        self.calls = 0
        self.started, self.ended = asyncio.Event(), asyncio.Event()
        self.is_hanging = False
        self._failures = failures

    async def run_query(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """Serve one call."""
        self.calls += 1
        self.started.set()
        try:
            for number in range(3):
                if number == 2 and self.calls <= self._failures:
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "on purpose")
                if number == 2 and self.is_hanging:
                    await asyncio.Event().wait()
                yield RunQueryResponse(document={"name": f"{request.parent}/{number}"})
            yield RunQueryResponse(read_time={"seconds": 1})
        finally:
            self.ended.set()


@asynccontextmanager
async def connect(queries: Queries) -> AsyncIterator[Firestore]:
    """Serve `queries` on the loopback; yield a client."""
    method = grpc.unary_stream_rpc_method_handler(
        queries.run_query, RunQueryRequest.FromString, RunQueryResponse.SerializeToString
    )
    async with one_method.listen("RunQuery", method) as address:
        reader = PageReader(lambda: grpc.insecure_channel(address, options=OPTIONS))
        channel = grpc.aio.insecure_channel(address)
        firestore = Firestore(channel, one_method.DATABASE, timeout_seconds=30, page_reader=reader)
        try:
            yield firestore
        finally:
            await firestore.close()


async def test_a_page_whose_call_fails_in_the_middle_is_read_again() -> None:
    """The caller has not seen a part of it, and gets each document once."""
    queries = Queries(failures=2)
    async with connect(queries) as firestore:
        documents = await firestore.page("a/b", StructuredQuery())

    assert [document.name.rpartition("/")[2] for document in documents] == ["0", "1", "2"]
    assert queries.calls == 3


async def test_a_call_ends_with_the_task_that_waits_for_its_page() -> None:
    """Otherwise its thread would wait until the deadline."""
    queries = Queries()
    queries.is_hanging = True
    async with connect(queries) as firestore:
        task = asyncio.create_task(firestore.page("a/b", StructuredQuery()))
        async with asyncio.timeout(30):
            await queries.started.wait()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await queries.ended.wait()
        queries.is_hanging = False

        assert len(await firestore.page("a/b", StructuredQuery())) == 3
