"""RunQuery and RunAggregationQuery."""

from collections.abc import Callable
from typing import Any

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.api.consistent_read import ConsistentRead
from infra.embedded.firestore.api.explanation import Explanation
from infra.embedded.firestore.encoding.field_paths import projector
from infra.embedded.firestore.queries import aggregations, structured_query
from infra.embedded.firestore.queries.counts import Counts
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.transport.rpc import Call


class QueryService:
    """Handles the RPCs that run a query. `read` returns the reads of a request in a database."""

    def __init__(self, storage: Storage, read: Callable[[Any, str], ConsistentRead]) -> None:
        self._storage = storage
        self._read = read
        self._counts = Counts(storage)

    async def run_query(self, request: Any, call: Call) -> None:
        """Handle RunQuery."""
        query = structured_query.read(request.parent, request.structured_query)
        explanation = Explanation(self._storage, request, query, call, m.RunQueryResponse())
        if not explanation.wants_results:
            await explanation.send()
            return
        read = self._read(request, query.parent.database)
        results = 0
        project = projector(query.projection)
        async for page in read.pages(query, explanation.progress):
            # A message never frees the memory of earlier documents, so each page has its own message.
            response = m.QueryResponse(read_time=m.timestamp(read.read_time))
            response.skipped_results = 0 if results else query.offset
            for _, document in page:
                await self._send_started(read, call)
                response.document = project(document)
                await explanation.write(response)  # serialized before this returns
                response.skipped_results, results = 0, results + 1
        await self._send_started(read, call)
        if not results:
            await explanation.write(m.RunQueryResponse(read_time=m.timestamp(read.read_time)))
        await explanation.send(results, results)

    async def _send_started(self, read: ConsistentRead, call: Call) -> None:
        """Send the id of the transaction that the call has started, once."""
        if started := read.take_started_transaction():
            await call.write(m.RunQueryResponse(transaction=started))

    async def run_aggregation_query(self, request: Any, call: Call) -> None:
        """Handle RunAggregationQuery."""
        message = request.structured_aggregation_query
        figures = aggregations.read(message)
        query = structured_query.read(request.parent, message.structured_query, aggregations.required_fields(figures))
        explanation = Explanation(self._storage, request, query, call, m.RunAggregationQueryResponse())
        if not explanation.wants_results:
            await explanation.send()
            return
        read = self._read(request, query.parent.database)
        if all(figure.field is None for figure in figures):
            explanation.index_entries = total = await read.count(query, self._counts)
            for figure in figures:
                figure.add_documents(total)
        else:
            async for _, document in read.query(query):
                explanation.index_entries += 1
                for figure in figures:
                    figure.add(document)
        response = m.RunAggregationQueryResponse(
            transaction=read.take_started_transaction(), read_time=m.timestamp(read.read_time)
        )
        for figure in figures:
            response.result.aggregate_fields[figure.alias].CopyFrom(figure.result())
        await explanation.write(response)
        await explanation.send(1)
