"""The Firestore service: one method per RPC, which translates, calls and translates back."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from infra.embedded.firestore import commits, limits, names, queries, scanning, versions, writes
from infra.embedded.firestore import messages as m
from infra.embedded.firestore.errors import Refusal, failed_precondition, invalid, not_found, unimplemented
from infra.embedded.firestore.feed import Feed
from infra.embedded.firestore.fields import parse as parse_field
from infra.embedded.firestore.fields import project
from infra.embedded.firestore.listening import Stream
from infra.embedded.firestore.storage import Storage

NAME = "google.firestore.v1.Firestore"

logger = logging.getLogger(__name__)


class Service:
    """Answers calls from one storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._feed = Feed(storage)
        self._streams: set[Stream] = set()

    def close(self) -> None:
        """Tell open streams to come back later."""
        for stream in self._streams:
            stream.close()

    async def get_document(self, request: Any, context: Any) -> Any:
        """Answer GetDocument."""
        name = _document_name(request.name)
        read_time = await self._read_time(request)
        stored = await self._storage.read(
            lambda connection: versions.find(connection, self._storage.catalog, name, read_time)
        )
        if stored is None:
            raise not_found(f'Document "{request.name}" not found.')
        return _masked(m.Document.FromString(stored.document), request)

    async def batch_get_documents(self, request: Any, context: Any) -> None:
        """Answer BatchGetDocuments: every document once, those that exist first."""
        database = names.parse_database(request.database)
        wanted = {name: names.parse_document(name, database) for name in request.documents}
        read_time = await self._read_time(request)

        def find(connection: Any) -> list[Any]:
            return [versions.find(connection, self._storage.catalog, name, read_time) for name in wanted.values()]

        found = await self._storage.read(find)
        missing = []
        for name, stored in zip(wanted, found, strict=True):
            if stored is None:
                missing.append(name)
                continue
            response = m.BatchGetDocumentsResponse(read_time=m.timestamp(read_time))
            response.found.CopyFrom(_masked(m.Document.FromString(stored.document), request))
            await context.write(response)
        for name in missing:
            await context.write(m.BatchGetDocumentsResponse(missing=name, read_time=m.timestamp(read_time)))

    async def commit(self, request: Any, context: Any) -> Any:
        """Answer Commit."""
        database = names.parse_database(request.database)
        if request.ByteSize() > limits.LARGEST_REQUEST_BYTES:
            raise invalid("Transaction too big. Decrease transaction size.")
        prepared = [writes.prepare(write, database) for write in request.writes]
        return await self._storage.write(lambda group: commits.commit(group, prepared))

    async def batch_write(self, request: Any, context: Any) -> Any:
        """Answer BatchWrite."""
        database = names.parse_database(request.database)
        if len(request.writes) > limits.MOST_BATCH_WRITES:
            raise invalid(f"maximum {limits.MOST_BATCH_WRITES} writes allowed per request")
        prepared: list[writes.PreparedWrite | Refusal] = []
        seen = set()
        for write in request.writes:
            try:
                ready = writes.prepare(write, database)
            except Refusal as refusal:
                prepared.append(refusal)
                continue
            if ready.full_name in seen:
                raise invalid(f"Document {ready.full_name} cannot be written to more than once per request.")
            seen.add(ready.full_name)
            prepared.append(ready)
        return await self._storage.write(lambda group: commits.batch(group, prepared))

    async def run_query(self, request: Any, context: Any) -> None:
        """Answer RunQuery."""
        query = queries.read(request.parent, request.structured_query)
        read_time = await self._read_time(request)
        moment = m.timestamp(read_time)
        async for _, document in scanning.stream(self._storage, query, read_time):
            await context.write(m.RunQueryResponse(document=query.projected(document), read_time=moment))
        await context.write(m.RunQueryResponse(read_time=moment))

    async def listen(self, requests: AsyncIterator[Any], context: Any) -> None:
        """Answer Listen."""
        first = await anext(requests, None)
        if first is None:
            return
        stream = Stream(self._feed, context.write, names.parse_database(first.database))
        self._streams.add(stream)
        try:
            await stream.run(_chain(first, requests))
        finally:
            self._streams.discard(stream)

    async def execute_pipeline(self, request: Any, context: Any) -> None:
        """Refuse ExecutePipeline."""
        raise unimplemented("Pipelines are not implemented by this server.")

    async def _read_time(self, request: Any) -> int:
        selector = request.WhichOneof("consistency_selector")
        if selector != "read_time":
            return self._storage.snapshot().read_time
        read_time = m.microseconds(request.read_time)
        if not self._storage.clock.reach(read_time):
            raise invalid("The requested read_time cannot be in the future.")
        if read_time < self._storage.oldest_read_time():
            raise failed_precondition("The requested read_time is too old.")
        return read_time


def _document_name(name: str) -> names.Name:
    return names.parse_document(name, names.parse(name).database)


def _masked(document: Any, request: Any) -> Any:
    if not request.HasField("mask"):
        return document
    selected = m.Document(name=document.name, create_time=document.create_time, update_time=document.update_time)
    project(document.fields, tuple(map(parse_field, request.mask.field_paths)), selected.fields)
    return selected


async def _chain(first: Any, rest: AsyncIterator[Any]) -> AsyncIterator[Any]:
    yield first
    async for each in rest:
        yield each


def _guarded(method: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
    async def call(request: Any, context: Any) -> Any:
        try:
            return await method(request, context)
        except Refusal as refusal:
            await context.abort(refusal.code, refusal.message)
        except asyncio.CancelledError:
            raise
        except grpc.aio.AbortError:
            raise
        except Exception:
            if context.cancelled():
                return None
            logger.exception("%s failed", method.__name__)
            await context.abort(grpc.StatusCode.INTERNAL, "Internal error encountered.")

    return call


def handler(service: Service) -> grpc.GenericRpcHandler:
    """Return the service as gRPC registers it."""
    unary, streamed = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
    both = grpc.stream_stream_rpc_method_handler
    methods = {
        "GetDocument": (unary, service.get_document, m.GetDocumentRequest, m.Document),
        "BatchGetDocuments": (
            streamed,
            service.batch_get_documents,
            m.BatchGetDocumentsRequest,
            m.BatchGetDocumentsResponse,
        ),
        "Commit": (unary, service.commit, m.CommitRequest, m.CommitResponse),
        "BatchWrite": (unary, service.batch_write, m.BatchWriteRequest, m.BatchWriteResponse),
        "RunQuery": (streamed, service.run_query, m.RunQueryRequest, m.RunQueryResponse),
        "Listen": (both, service.listen, m.ListenRequest, m.ListenResponse),
        "ExecutePipeline": (
            streamed,
            service.execute_pipeline,
            m.ExecutePipelineRequest,
            m.ExecutePipelineResponse,
        ),
    }
    return grpc.method_handlers_generic_handler(
        NAME,
        {
            name: kind(
                _guarded(method),
                request_deserializer=request.FromString,
                response_serializer=response.SerializeToString,
            )
            for name, (kind, method, request, response) in methods.items()
        },
    )
