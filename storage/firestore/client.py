"""A client of one Firestore database that sends and returns protobuf messages. It retries reads."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Collection, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import grpc.aio

from observability import tracing
from runtime.elapsed_time import elapsed
from runtime.shared_tasks import SharedTasks
from storage.documents import Unavailable, document_paths
from storage.firestore import encoding, spans
from storage.firestore.channel import open_blocking_channel, open_connection
from storage.firestore.database import PING_PATH, Database
from storage.firestore.errors import FirestoreUnavailable, call_error
from storage.firestore.messages import (
    BatchGetDocumentsRequest,
    BatchGetDocumentsResponse,
    Document,
    ListDocumentsRequest,
    ListDocumentsResponse,
    Message,
    RunAggregationQueryRequest,
    RunAggregationQueryResponse,
    RunQueryRequest,
    RunQueryResponse,
    StructuredQuery,
)
from storage.firestore.reads.page_messages import EncodedPage, Page
from storage.firestore.reads.page_reader import MIN_DOCUMENTS, PageReader
from storage.firestore.retry import TRANSIENT, backoff

ResponseT = TypeVar("ResponseT")
CONNECT_SECONDS = 5.0
CLOCK_SECONDS = 10.0
"""How long a time of Firestore's clock is used, with the elapsed time, before it is read again."""


class Firestore(Database):
    """A database with its reads.

    Every method that calls Firestore, except `listen`, raises `Unavailable` if Firestore cannot be
    reached or returns a transient error, and `FirestoreError` if Firestore rejects the request.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        database: str,
        *,
        timeout_seconds: float,
        metadata: Iterable[tuple[str, str]] = (),
        server: str = "",
        page_reader: PageReader | None = None,
    ) -> None:
        super().__init__(channel, database, timeout_seconds=timeout_seconds, metadata=metadata, server=server)
        self._page_reader = page_reader
        self._clock_read: tuple[datetime, int] | None = None
        """A time of Firestore's clock, and the elapsed time before it was read."""
        self._clock_reads = SharedTasks[None, tuple[datetime, int]]()
        self._list_documents = self._unary("ListDocuments", ListDocumentsRequest, ListDocumentsResponse)
        self._batch_get = self._stream("BatchGetDocuments", BatchGetDocumentsRequest, BatchGetDocumentsResponse)
        self._run_query = self._stream("RunQuery", RunQueryRequest, RunQueryResponse)
        self._run_aggregation = self._stream(
            "RunAggregationQuery", RunAggregationQueryRequest, RunAggregationQueryResponse
        )

    @classmethod
    def connect(cls, *, timeout_seconds: float, database: str | None = None) -> "Firestore":
        """Return a client of `database`. The default is the `(default)` database of the project in the environment.

        The client connects at the first call.
        """
        connection = open_connection()
        return cls(
            connection.channel,
            database or f"projects/{connection.project}/databases/(default)",
            timeout_seconds=timeout_seconds,
            metadata=connection.metadata,
            server=connection.server,
            page_reader=PageReader(open_blocking_channel),
        )

    async def close(self) -> None:
        """Close the channels and cancel all calls."""
        if self._page_reader is not None:
            await self._page_reader.close()
        await self._channel.close()

    async def batch_get(
        self, paths: Iterable[str], *, mask: Collection[str] = (), read_time: datetime | None = None
    ) -> dict[str, Document]:
        """Return the existing documents among `paths`, by path, at `read_time` or now.

        A `mask` limits the fields that are read.
        """
        request = self._batch_get_request(paths, mask, read_time)
        if not request.documents:
            return {}
        documents = {}
        async for response in self._read(self._batch_get, request):
            if response.HasField("found"):
                documents[self.path(response.found.name)] = response.found
        return documents

    async def batch_get_page(self, paths: Collection[str], *, mask: Collection[str] = ()) -> dict[str, Document]:
        """Return the same documents as `batch_get`. For many documents, this takes less CPU time."""
        if self._page_reader is None or len(paths) < MIN_DOCUMENTS:
            return await self.batch_get(paths, mask=mask)
        found = await self._page("BatchGetDocuments", Page, self._batch_get_request(paths, mask))
        return {self.path(document.name): document for document in found}

    def _batch_get_request(
        self, paths: Iterable[str], mask: Collection[str], read_time: datetime | None = None
    ) -> BatchGetDocumentsRequest:
        request = BatchGetDocumentsRequest(database=self.database, documents=[self.name(path) for path in paths])
        if mask:
            request.mask.field_paths.extend(mask)
        if read_time is not None:
            request.read_time.FromDatetime(read_time)
        return request

    async def document_ids(self, collection: str) -> list[str]:
        """Return the ids in a collection of the root, including missing documents that have subcollections."""
        request = ListDocumentsRequest(parent=self._root, collection_id=collection, show_missing=True)
        request.mask.field_paths.append("__name__")
        ids: list[str] = []
        while True:
            try:
                response = await self._list_documents(
                    request, timeout=self._timeout_seconds, metadata=self._metadata, wait_for_ready=True
                )
            except grpc.aio.AioRpcError as error:
                raise call_error(error) from error
            ids += [document_paths.id_of(document.name) for document in response.documents]
            if not response.next_page_token:
                return ids
            request.page_token = response.next_page_token

    async def run_query(
        self, parent: str, query: StructuredQuery, read_time: datetime | None = None
    ) -> AsyncIterator[RunQueryResponse]:
        """Yield each `RunQueryResponse` of a `StructuredQuery` on collections of `parent`, at `read_time`."""
        async for response in self._read(self._run_query, self._query_request(parent, query, read_time)):
            yield response

    async def documents(self, parent: str, query: StructuredQuery, read_time: datetime | None = None) -> list[Document]:
        """Return the documents that match a `StructuredQuery` on collections of `parent`, at `read_time`."""
        responses = self.run_query(parent, query, read_time)
        return [response.document async for response in responses if response.HasField("document")]

    async def page(self, parent: str, query: StructuredQuery, read_time: datetime | None = None) -> list[Document]:
        """Return the same documents as `documents`. For many documents, this takes less CPU time."""
        if self._page_reader is None:
            return await self.documents(parent, query, read_time)
        return await self._page("RunQuery", Page, self._query_request(parent, query, read_time))

    async def pages(
        self, parent: str, query: StructuredQuery, size: int, read_time: datetime | None = None
    ) -> AsyncGenerator[list[Document], None]:
        """Yield all documents that match a query, in pages of up to `size`. No page is empty.

        The documents are in the order of the query, and then of their names. If the query selects fields, it must also
        select the fields of its order, because the next page starts after the last document of the page before.
        """
        fields = [each.field.field_path for each in query.order_by]
        following = StructuredQuery()
        following.CopyFrom(query)
        following.limit.value = size
        following.order_by.add(direction=StructuredQuery.ASCENDING).field.field_path = "__name__"
        while page := await self.page(parent, following, read_time):
            yield page
            if len(page) < size:
                return
            last = page[-1]
            following.start_at.Clear()
            following.start_at.values.extend(last.fields[field] for field in fields)
            following.start_at.values.add(reference_value=last.name)

    async def encoded_page(self, parent: str, query: StructuredQuery, read_time: datetime | None) -> list[Any]:
        """Return the same documents as `page`, with encoded values. Parse the values with `page_messages.column`."""
        return await self._page("RunQuery", EncodedPage, self._query_request(parent, query, read_time))

    async def _page(self, method: str, page_class: Any, request: Message) -> list[Any]:
        if self._page_reader is None:
            raise ValueError("This client has no page reader; connect it with `Firestore.connect`")
        pages = self._read(partial(self._page_reader.read, method, page_class), request)
        return [document async for page in pages for document in page]

    def _query_request(self, parent: str, query: StructuredQuery, read_time: datetime | None) -> RunQueryRequest:
        request = RunQueryRequest(parent=self.name(parent), structured_query=query)
        if read_time is not None:
            request.read_time.FromDatetime(read_time)
        return request

    async def count(self, parent: str, query: StructuredQuery, read_time: datetime | None = None) -> int:
        """Return the number of documents that match a `StructuredQuery` on collections of `parent`."""
        request = RunAggregationQueryRequest(parent=self.name(parent))
        aggregation = request.structured_aggregation_query
        aggregation.structured_query.CopyFrom(query)
        aggregation.aggregations.add(alias="count").count.SetInParent()
        if read_time is not None:
            request.read_time.FromDatetime(read_time)
        result = None
        # Read all responses: an abandoned call leaves reference cycles in grpc.aio.
        async for response in self._read(self._run_aggregation, request):
            result = int(response.result.aggregate_fields["count"].integer_value)
        if result is None:
            raise Unavailable("Firestore returned no result for a count; retry later")
        return result

    async def now(self) -> datetime:
        """Return a read time that is not before any write that was acknowledged before this call."""
        request = BatchGetDocumentsRequest(database=self.database, documents=[self.name(PING_PATH)])
        read_time = None
        async for response in self._read(self._batch_get, request):  # read all responses, as in `count`
            read_time = encoding.to_datetime(response.read_time)
        if read_time is None:
            raise Unavailable("Firestore returned no read time; retry later")
        return read_time

    async def estimated_now(self) -> datetime:
        """Return a time of Firestore's clock that was read up to `CLOCK_SECONDS` ago, plus the elapsed time.

        Compare times of expiry with this time: the clock of this machine can be wrong. The elapsed time includes the
        time in which the machine was suspended. Otherwise, a new sample could get a time of expiry in the past.
        """
        if self._clock_read is None or elapsed() - self._clock_read[1] > CLOCK_SECONDS * 1_000_000:
            self._clock_read = await self._clock_reads.run(None, self._read_clock)
        read_time, started = self._clock_read
        return read_time + timedelta(microseconds=elapsed() - started)

    async def _read_clock(self) -> tuple[datetime, int]:
        started = elapsed()
        return await self.now(), started

    async def wait_for_connection(self) -> None:
        """Wait until the channel is connected. Raises `Unavailable`, with the address, after `CONNECT_SECONDS`.

        A command calls this first. A user then need not wait until a read times out.
        """
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._channel.channel_ready()
        except TimeoutError:
            raise Unavailable(
                f"cannot connect to Firestore at {self._server} within {CONNECT_SECONDS:g} s; check that it runs, and "
                "that FIRESTORE_EMULATOR_HOST is correct"
            ) from None

    async def ping(self, timeout_seconds: float) -> None:
        """Read once, without retries.

        Raises `Unavailable` if Firestore does not respond within the timeout, or if it refuses the read, for example
        because a role is missing.
        """
        request = BatchGetDocumentsRequest(database=self.database, documents=[self.name(PING_PATH)])
        try:
            async for _ in self._batch_get(request, timeout=timeout_seconds, metadata=self._metadata):
                pass
        except grpc.aio.AioRpcError as error:
            raised = call_error(error)
            raise FirestoreUnavailable(raised.status, raised.message) from error

    async def _read(self, call: Callable[..., AsyncIterable[ResponseT]], request: Message) -> AsyncIterator[ResponseT]:
        """Yield the responses to a read. Retry a transient error before the first response, within the timeout."""
        deadline = time.monotonic() + self._timeout_seconds
        span = self._spans.start_read(request) if tracing.is_on else None
        try:
            for pause in backoff():
                is_started = False
                remaining = deadline - time.monotonic()
                responses = call(request, timeout=remaining, metadata=self._metadata, wait_for_ready=True)
                try:
                    async for response in responses:
                        is_started = True
                        yield response
                except grpc.RpcError as error:
                    raised = call_error(error)
                    if is_started or error.code() not in TRANSIENT or remaining < pause:
                        raise spans.failed(span, raised) from error
                    await asyncio.sleep(pause)
                else:
                    return
        finally:
            spans.end(span)
