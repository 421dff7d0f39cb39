"""The Firestore service: one method per RPC, which translates, calls and translates back."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.api import pagination
from infra.embedded.firestore.api.reads import Reading
from infra.embedded.firestore.encoding import limits, resource_names
from infra.embedded.firestore.encoding.field_paths import apply_mask
from infra.embedded.firestore.errors import StatusError, invalid_argument, not_found, unimplemented
from infra.embedded.firestore.listen.stream import Stream
from infra.embedded.firestore.queries import aggregations, structured_query
from infra.embedded.firestore.storage.change_feed import Feed
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes import document_write
from infra.embedded.firestore.writes.transactions import Transactions

_ID_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class Service:
    """Answers calls from one storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._feed = Feed(storage)
        self._transactions = Transactions(storage)
        self._streams: set[Stream] = set()

    @property
    def open_streams(self) -> int:
        """How many Listen streams are open."""
        return len(self._streams)

    @property
    def open_transactions(self) -> int:
        """How many transactions are under way."""
        return self._transactions.active

    def end_streams(self) -> None:
        """Tell open streams to come back later."""
        for stream in self._streams:
            stream.close()

    async def close(self) -> None:
        """Stop what runs in the background."""
        await self._transactions.close()

    # Documents

    async def get_document(self, request: Any, context: Any) -> Any:
        """Answer GetDocument."""
        name = _document(request.name)
        (stored,) = await self._reading(request, name.database).documents([name])
        if stored is None:
            raise not_found(f'Document "{request.name}" not found.')
        return apply_mask(m.Document.FromString(stored.document), request)

    async def batch_get_documents(self, request: Any, context: Any) -> None:
        """Answer BatchGetDocuments: every document once, those that exist first."""
        database = resource_names.parse_database(request.database)
        wanted = {name: resource_names.parse_document(name, database) for name in request.documents}
        reading = self._reading(request, database)
        started = reading.started_transaction
        found = await reading.documents(list(wanted.values()))
        moment = m.timestamp(reading.read_time)
        for name, stored in sorted(zip(wanted, found, strict=True), key=lambda entry: entry[1] is None):
            response = m.BatchGetDocumentsResponse(transaction=started, read_time=moment)
            started = b""
            if stored is None:
                response.missing = name
            else:
                response.found.CopyFrom(apply_mask(m.Document.FromString(stored.document), request))
            await context.write(response)
        if started:
            await context.write(m.BatchGetDocumentsResponse(transaction=started, read_time=moment))

    async def list_documents(self, request: Any, context: Any) -> Any:
        """Answer ListDocuments."""
        database = resource_names.parse_parent(request.parent).database
        return await pagination.documents(self._storage, self._reading(request, database), request)

    async def create_document(self, request: Any, context: Any) -> Any:
        """Answer CreateDocument."""
        parent = resource_names.parse_parent(request.parent)
        document_id = request.document_id or "".join(secrets.choice(_ID_LETTERS) for _ in range(20))
        for segment in (request.collection_id, document_id):
            resource_names.check_id(segment)
        name = f"{parent}/{request.collection_id}/{document_id}"
        write = m.Write(update=m.Document(name=name, fields=request.document.fields))
        write.current_document.exists = False
        return await self._write_one(write, name, request)

    async def update_document(self, request: Any, context: Any) -> Any:
        """Answer UpdateDocument."""
        write = m.Write(update=request.document)
        if request.HasField("update_mask"):
            write.update_mask.CopyFrom(request.update_mask)
        if request.HasField("current_document"):
            write.current_document.CopyFrom(request.current_document)
        return await self._write_one(write, request.document.name, request)

    async def _write_one(self, write: Any, full_name: str, request: Any) -> Any:
        name = _document(full_name)
        committed = await self._transactions.commit([document_write.prepare(write, name.database)], None)
        reading = self._reading(None, name.database)
        reading.at(m.microseconds(committed.commit_time))
        (stored,) = await reading.documents([name])
        return apply_mask(m.Document.FromString(stored.document if stored else b""), request)

    async def delete_document(self, request: Any, context: Any) -> Any:
        """Answer DeleteDocument."""
        name = _document(request.name)
        write = m.Write(delete=request.name)
        if request.HasField("current_document"):
            write.current_document.CopyFrom(request.current_document)
        await self._transactions.commit([document_write.prepare(write, name.database)], None)
        return m.Empty()

    async def list_collection_ids(self, request: Any, context: Any) -> Any:
        """Answer ListCollectionIds."""
        database = resource_names.parse_parent(request.parent).database
        return await pagination.collection_ids(self._storage, self._reading(request, database), request)

    # Queries

    async def run_query(self, request: Any, context: Any) -> None:
        """Answer RunQuery."""
        _refuse_explain(request)
        query = structured_query.read(request.parent, request.structured_query)
        reading = self._reading(request, query.parent.database)
        started, skipped, is_empty = reading.started_transaction, query.offset, True
        async for _, document in reading.query(query):
            if started:
                await context.write(m.RunQueryResponse(transaction=started))
            response = m.RunQueryResponse(document=query.projected(document), skipped_results=skipped)
            response.read_time.CopyFrom(m.timestamp(reading.read_time))
            await context.write(response)
            started, skipped, is_empty = b"", 0, False
        if started:
            await context.write(m.RunQueryResponse(transaction=started))
        if is_empty:
            await context.write(m.RunQueryResponse(read_time=m.timestamp(reading.read_time)))

    async def run_aggregation_query(self, request: Any, context: Any) -> None:
        """Answer RunAggregationQuery."""
        _refuse_explain(request)
        message = request.structured_aggregation_query
        figures = aggregations.read(message)
        query = structured_query.read(request.parent, message.structured_query, aggregations.ordering(figures))
        reading = self._reading(request, query.parent.database)
        if all(figure.field is None for figure in figures):
            total = await reading.count(query)
            for figure in figures:
                figure.add_documents(total)
        else:
            async for _, document in reading.query(query):
                for figure in figures:
                    figure.add(document)
        response = m.RunAggregationQueryResponse(
            transaction=reading.started_transaction, read_time=m.timestamp(reading.read_time)
        )
        for figure in figures:
            response.result.aggregate_fields[figure.alias].CopyFrom(figure.result())
        await context.write(response)

    async def partition_query(self, request: Any, context: Any) -> Any:
        """Answer PartitionQuery."""
        database = resource_names.parse_parent(request.parent).database
        return await pagination.cuts(self._storage, self._reading(request, database), request)

    async def execute_pipeline(self, request: Any, context: Any) -> None:
        """Refuse ExecutePipeline."""
        raise unimplemented("Pipelines are not implemented by this server.")

    # Writes and transactions

    async def begin_transaction(self, request: Any, context: Any) -> Any:
        """Answer BeginTransaction."""
        database = resource_names.parse_database(request.database)
        return m.BeginTransactionResponse(transaction=self._begin(request.options, database))

    def _begin(self, options: Any, database: str) -> bytes:
        return self._transactions.begin(database, options).id

    async def rollback(self, request: Any, context: Any) -> Any:
        """Answer Rollback."""
        resource_names.parse_database(request.database)
        if not request.transaction:
            raise invalid_argument("Invalid transaction.")
        self._transactions.rollback(request.transaction)
        return m.Empty()

    async def commit(self, request: Any, context: Any) -> Any:
        """Answer Commit."""
        database = resource_names.parse_database(request.database)
        if request.ByteSize() > limits.MAX_REQUEST_BYTES:
            raise invalid_argument("Transaction too big. Decrease transaction size.")
        transaction = None
        if request.transaction:
            transaction = self._transactions.get(request.transaction, database)
        prepared = document_write.prepare_all(request.writes, database)
        return await self._transactions.commit(prepared, transaction)

    async def batch_write(self, request: Any, context: Any) -> Any:
        """Answer BatchWrite: each write has its own result and status."""
        database = resource_names.parse_database(request.database)
        if len(request.writes) > limits.MAX_BATCH_WRITES:
            raise invalid_argument(f"maximum {limits.MAX_BATCH_WRITES} writes allowed per request")
        if request.ByteSize() > limits.MAX_REQUEST_BYTES:
            raise invalid_argument("Transaction too big. Decrease transaction size.")
        response = m.BatchWriteResponse()
        ready: dict[str, tuple[int, document_write.PreparedWrite]] = {}
        for index, write in enumerate(request.writes):
            response.write_results.add()
            status = response.status.add()
            try:
                prepared = document_write.prepare(write, database)
            except StatusError as refusal:
                status.code, status.message = refusal.code_number, refusal.message
                continue
            if prepared.full_name in ready:
                raise invalid_argument(
                    f"Document {prepared.full_name} cannot be written to more than once per request."
                )
            ready[prepared.full_name] = index, prepared
        outcomes = await self._transactions.batch([prepared for _, prepared in ready.values()])
        for (index, _), (result, failure) in zip(ready.values(), outcomes, strict=True):
            if failure is None:
                response.write_results[index].CopyFrom(result)
            else:
                response.status[index].code, response.status[index].message = failure.code_number, failure.message
        return response

    async def write(self, requests: AsyncIterator[Any], context: Any) -> None:
        """Answer Write: commits one after the other on one stream."""
        first = await anext(requests, None)
        if first is None:
            return
        database = resource_names.parse_database(first.database)
        stream_id = first.stream_id or secrets.token_urlsafe(16)
        token = 0
        await context.write(m.WriteResponse(stream_id=stream_id, stream_token=token.to_bytes(8, "big")))
        pending: Any = first if first.writes else None
        while pending is not None or (pending := await anext(requests, None)) is not None:
            prepared = document_write.prepare_all(pending.writes, database)
            committed = await self._transactions.commit(prepared, None)
            token += 1
            response = m.WriteResponse(stream_token=token.to_bytes(8, "big"), commit_time=committed.commit_time)
            response.write_results.extend(committed.write_results)
            await context.write(response)
            pending = None

    async def listen(self, requests: AsyncIterator[Any], context: Any) -> None:
        """Answer Listen."""
        first = await anext(requests, None)
        if first is None:
            return
        stream = Stream(self._feed, context.write, resource_names.parse_database(first.database))
        self._streams.add(stream)
        try:
            await stream.run(_chain(first, requests))
        finally:
            self._streams.discard(stream)

    def _reading(self, request: Any | None, database: str) -> Reading:
        return Reading(self._storage, self._transactions, request, database)


def _refuse_explain(request: Any) -> None:
    if request.HasField("explain_options"):
        raise unimplemented("Query explain is not implemented by this server.")


def _document(name: str) -> resource_names.ResourceName:
    return resource_names.parse_document(name, resource_names.parse(name).database)


async def _chain(first: Any, rest: AsyncIterator[Any]) -> AsyncIterator[Any]:
    yield first
    async for each in rest:
        yield each
