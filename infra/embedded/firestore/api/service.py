"""The google.firestore.v1.Firestore service: one method per RPC.

A method parses the request, calls the other packages of the server and builds the response.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.api import pagination
from infra.embedded.firestore.api.consistent_read import ConsistentRead
from infra.embedded.firestore.api.query_service import QueryService
from infra.embedded.firestore.encoding import limits, resource_names
from infra.embedded.firestore.encoding.field_paths import apply_mask, projector, read_mask
from infra.embedded.firestore.errors import invalid_argument, not_found, unimplemented
from infra.embedded.firestore.listen.stream import ListenStream
from infra.embedded.firestore.listen.turns import Turns
from infra.embedded.firestore.storage.change_feed import ChangeFeed
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.transport.rpc import Call
from infra.embedded.firestore.writes import document_write
from infra.embedded.firestore.writes.document_write import PreparedWrite
from infra.embedded.firestore.writes.transactions import Transactions

MAX_BYTES_ON_LOOP = 1 << 20
"""A thread prepares the writes of larger requests, so that other calls continue. With many paths or small values, the
writes of a request of 10 MiB take up to 4 s.
"""
GENERATED_ID_LENGTH = 20
_ID_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

T = TypeVar("T")


class Service:
    """Handles the RPCs for one storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._feed = ChangeFeed(storage)
        self._turns = Turns()
        self._transactions = Transactions(storage)
        self.queries = QueryService(storage, self._read)
        """Handles RunQuery and RunAggregationQuery."""
        self._streams: set[ListenStream] = set()

    @property
    def open_streams(self) -> int:
        """The number of open Listen streams."""
        return len(self._streams)

    @property
    def open_transactions(self) -> int:
        """The number of active transactions."""
        return self._transactions.active_count

    def end_streams(self) -> None:
        """End open Listen streams with UNAVAILABLE, so that clients reconnect."""
        for stream in self._streams:
            stream.close()

    async def close(self) -> None:
        """Stop the background tasks."""
        await self._transactions.close()

    # Documents

    async def get_document(self, request: Any, call: Call) -> Any:
        """Handle GetDocument."""
        name, mask = _document(request.name), read_mask(request)
        (stored,) = await self._read(request, name.database).documents([name])
        if stored is None:
            raise not_found(f'Document "{request.name}" not found.')
        return apply_mask(m.Document.FromString(stored.document), mask)

    async def batch_get_documents(self, request: Any, call: Call) -> None:
        """Handle BatchGetDocuments: send each document once, existing documents before missing documents."""
        database, mask = resource_names.parse_database(request.database), read_mask(request)
        requested = {name: resource_names.parse_document(name, database) for name in request.documents}
        read = self._read(request, database)
        names, missing, project = iter(requested), [], projector(mask)
        async for page in read.document_pages(list(requested.values())):
            response = m.BatchGetResponse(read_time=m.timestamp(read.read_time))  # see `run_query`
            for stored, name in zip(page, names, strict=False):
                if stored is None:
                    missing.append(name)
                    continue
                response.found = project(stored.document)
                response.transaction = read.take_started_transaction()
                await call.write(response)  # serialized before this returns
        read_time = m.timestamp(read.read_time)
        for name in missing:
            started = read.take_started_transaction()
            await call.write(m.BatchGetDocumentsResponse(missing=name, transaction=started, read_time=read_time))
        if started := read.take_started_transaction():
            await call.write(m.BatchGetDocumentsResponse(transaction=started, read_time=read_time))

    async def list_documents(self, request: Any, call: Call) -> Any:
        """Handle ListDocuments."""
        database = resource_names.parse_parent(request.parent).database
        return await pagination.list_documents(self._storage, self._read(request, database), request)

    async def create_document(self, request: Any, call: Call) -> Any:
        """Handle CreateDocument."""
        if request.document.name:
            raise invalid_argument("document.name must not be set")
        parent = resource_names.parse_parent(request.parent)
        document_id = request.document_id or "".join(secrets.choice(_ID_CHARACTERS) for _ in range(GENERATED_ID_LENGTH))
        resource_names.check_collection_id(request.collection_id)
        resource_names.check_document_id(document_id)
        name = f"{parent}/{request.collection_id}/{document_id}"
        write = m.Write(update=m.Document(name=name, fields=request.document.fields))
        write.current_document.exists = False
        return await self._commit_one(write, name, request, call)

    async def update_document(self, request: Any, call: Call) -> Any:
        """Handle UpdateDocument."""
        write = m.Write(update=request.document)
        if request.HasField("update_mask"):
            write.update_mask.CopyFrom(request.update_mask)
        if request.HasField("current_document"):
            write.current_document.CopyFrom(request.current_document)
        return await self._commit_one(write, request.document.name, request, call)

    async def _commit_one(self, write: Any, full_name: str, request: Any, call: Call) -> Any:
        name, mask = _document(full_name), read_mask(request)
        prepared = await _prepared(document_write.prepare_all, [write], name.database, call.request_bytes)
        committed = await self._transactions.commit(prepared, None)
        read = self._read(None, name.database)
        read.set_read_time(m.microseconds(committed.commit_time))
        (stored,) = await read.documents([name])
        return apply_mask(m.Document.FromString(stored.document if stored else b""), mask)

    async def delete_document(self, request: Any, call: Call) -> Any:
        """Handle DeleteDocument."""
        name = _document(request.name)
        write = m.Write(delete=request.name)
        if request.HasField("current_document"):
            write.current_document.CopyFrom(request.current_document)
        await self._transactions.commit([document_write.prepare(write, name.database)], None)
        return m.Empty()

    async def list_collection_ids(self, request: Any, call: Call) -> Any:
        """Handle ListCollectionIds."""
        database = resource_names.parse_parent(request.parent).database
        return await pagination.list_collection_ids(self._storage, self._read(request, database), request)

    # Queries

    async def partition_query(self, request: Any, call: Call) -> Any:
        """Handle PartitionQuery."""
        database = resource_names.parse_parent(request.parent).database
        return await pagination.partition_query(self._storage, self._read(request, database), request)

    async def execute_pipeline(self, request: Any, call: Call) -> None:
        """Handle ExecutePipeline, which is not implemented."""
        raise unimplemented("Pipelines are not implemented by this server.")

    # Writes and transactions

    async def begin_transaction(self, request: Any, call: Call) -> Any:
        """Handle BeginTransaction."""
        database = resource_names.parse_database(request.database)
        return m.BeginTransactionResponse(transaction=self._transactions.begin(database, request.options).id)

    async def rollback(self, request: Any, call: Call) -> Any:
        """Handle Rollback."""
        if not request.transaction:
            raise invalid_argument("Invalid transaction.")
        self._transactions.rollback(request.transaction, resource_names.parse_database(request.database))
        return m.Empty()

    async def commit(self, request: Any, call: Call) -> Any:
        """Handle Commit."""
        database = resource_names.parse_database(request.database)
        prepared = await _prepared(document_write.prepare_all, request.writes, database, call.request_bytes)
        transaction = None
        if request.transaction:
            transaction = self._transactions.get(request.transaction, database)
        return await self._transactions.commit(prepared, transaction)

    async def batch_write(self, request: Any, call: Call) -> Any:
        """Handle BatchWrite: each write has its own result and status."""
        database = resource_names.parse_database(request.database)
        if len(request.writes) > limits.MAX_BATCH_WRITES:
            raise invalid_argument(f"maximum {limits.MAX_BATCH_WRITES} writes allowed per request")
        results, statuses = [m.WriteResult()] * len(request.writes), [m.Status()] * len(request.writes)
        valid: dict[int, PreparedWrite] = {}  # by index in the request
        prepared = await _prepared(document_write.prepare_each, request.writes, database, call.request_bytes)
        for index, each in enumerate(prepared):
            if isinstance(each, PreparedWrite):
                valid[index] = each
            else:
                statuses[index] = m.Status(code=each.code_number, message=each.message)
        outcomes = await self._transactions.batch_write(list(valid.values()))
        for index, (result, failure) in zip(valid, outcomes, strict=True):
            if failure is None:
                results[index] = result
            else:
                statuses[index] = m.Status(code=failure.code_number, message=failure.message)
        return m.BatchWriteResponse(write_results=results, status=statuses)

    async def write(self, requests: AsyncIterator[Any], call: Call) -> None:
        """Handle Write: one commit for each request of the stream, in order."""
        first = await anext(requests, None)
        if first is None:
            return
        database = resource_names.parse_database(first.database)
        if first.writes or first.stream_id:
            raise invalid_argument("The first request of a Write stream must have no writes and no stream id.")
        await call.write(m.WriteResponse(stream_id=secrets.token_urlsafe(16), stream_token=bytes(8)))
        token = 0
        async for request in requests:
            prepared = await _prepared(document_write.prepare_all, request.writes, database, request.ByteSize())
            committed = await self._transactions.commit(prepared, None)
            token += 1
            response = m.WriteResponse(stream_token=token.to_bytes(8, "big"), commit_time=committed.commit_time)
            response.write_results.extend(committed.write_results)
            await call.write(response)

    async def listen(self, requests: AsyncIterator[Any], call: Call) -> None:
        """Handle Listen."""
        first = await anext(requests, None)
        if first is None:
            return
        stream = ListenStream(self._feed, self._turns, call.write, resource_names.parse_database(first.database))
        self._streams.add(stream)
        try:
            await stream.run(_chain(first, requests))
        finally:
            self._streams.discard(stream)

    def _read(self, request: Any | None, database: str) -> ConsistentRead:
        return ConsistentRead(self._storage, self._transactions, request, database)


async def _prepared(prepare: Callable[[Any, str], T], writes: Any, database: str, request_bytes: int) -> T:
    """Return `prepare(writes, database)`. Call it in a thread if the request is large."""
    if request_bytes <= MAX_BYTES_ON_LOOP:
        return prepare(writes, database)
    return await asyncio.to_thread(prepare, writes, database)


def _document(name: str) -> resource_names.ResourceName:
    return resource_names.parse_document(name, resource_names.parse_database(resource_names.parse(name).database))


async def _chain(first: Any, rest: AsyncIterator[Any]) -> AsyncIterator[Any]:
    yield first
    async for each in rest:
        yield each
