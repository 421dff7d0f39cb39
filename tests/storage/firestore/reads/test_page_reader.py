"""A page of documents is complete, or its call fails or ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import grpc.aio

from storage.firestore.client import Firestore
from storage.firestore.messages import (
    BatchGetDocumentsRequest,
    BatchGetDocumentsResponse,
    RunQueryRequest,
    RunQueryResponse,
    StructuredQuery,
)
from storage.firestore.reads.page_reader import MIN_DOCUMENTS, OPTIONS, PageReader
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
    async with serve("RunQuery", method) as firestore:
        yield firestore


@asynccontextmanager
async def serve(name: str, method: Any) -> AsyncIterator[Firestore]:
    """Serve the method `name` on the loopback; yield a client that reads pages."""
    async with one_method.listen(name, method) as address:
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


async def test_few_and_many_documents_are_read_by_their_paths() -> None:
    """A page of documents is the same as single documents. Missing documents are left out."""
    requests: list[Any] = []

    async def batch_get(request: Any, context: Any) -> AsyncIterator[Any]:
        requests.append(request)
        for name in request.documents[::2]:
            yield BatchGetDocumentsResponse(found={"name": name, "fields": {"n": {"integer_value": 1}}})
        for name in request.documents[1::2]:
            yield BatchGetDocumentsResponse(missing=name)

    method = grpc.unary_stream_rpc_method_handler(
        batch_get, BatchGetDocumentsRequest.FromString, BatchGetDocumentsResponse.SerializeToString
    )
    async with serve("BatchGetDocuments", method) as firestore:
        for count in (0, 1, MIN_DOCUMENTS - 1, MIN_DOCUMENTS, 300):
            paths = [f"a/{number}" for number in range(count)]
            page = await firestore.batch_get_page(paths, mask=("n",))

            assert list(page) == paths[::2]
            assert page == await firestore.batch_get(paths, mask=("n",))
    assert all(request.mask.field_paths == ["n"] for request in requests)
