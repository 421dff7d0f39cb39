"""Lists of computed results, read as pages, as a count or as a scan.

Firestore leaves a document out of an index if the document lacks a field of the index. Some results lack a statistic
such as the median. Such a statistic is therefore only in the index of its own order. In any other order, this module
checks a bound on the statistic after reading the documents.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from graphql_api.budgets.loop_turns import LoopTurns
from graphql_api.results.filters import INDEXED_FIELDS, Bound, Order
from graphql_api.results.ordered_query import OrderedQuery
from graphql_api.results.pagination import Page, PageRequest
from graphql_api.results.sharded_query import ShardedQuery
from storage.documents import Result, Status, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore


class ResultListing:
    """Lists the results of one submitter. Callers pass the submitter of the authenticated credential."""

    def __init__(self, firestore: Firestore, turns: LoopTurns, *, shards: int) -> None:
        self._firestore = firestore
        self.turns = turns
        self._shards = shards

    async def page(self, submitter: str, bounds: Sequence[Bound], order: Order, request: PageRequest) -> Page[Result]:
        """Return the computed results of `request` that are within `bounds`.

        If a bound is checked after reading, a page can have fewer results than requested although more results follow.
        """
        page = await self._query(submitter, bounds, order).page(request)
        cursors = [cursor for cursor, _ in page.edges]
        documents = (document for _, document in page.edges)
        results = await self.turns.of(submitter).map(partial(decode_result, submitter), documents)
        return Page(list(zip(cursors, results, strict=True)), page.has_more, page.scanned_to)

    async def count(self, submitter: str, bounds: Sequence[Bound]) -> int:
        """Return the number of computed results within `bounds`."""
        order = next((bound.field for bound in bounds if bound.field not in INDEXED_FIELDS), "timestamp")
        return await self._query(submitter, bounds, Order(order)).count()

    def scan(
        self, submitter: str, bounds: Sequence[Bound], order: Order, select: Sequence[str], batch_size: int = 2_000
    ) -> AsyncGenerator[list[Any], None]:
        """Yield all computed results within `bounds` as protocol `Document`s, in order, as of one read time.

        Each batch has about `batch_size` documents, with the fields in `select` and the fields of the order.
        """
        return self._query(submitter, bounds, order, select).scan(batch_size)

    async def outdated_ids(
        self, submitter: str, version: int, bounds: Sequence[Bound], batch_size: int
    ) -> AsyncGenerator[Sequence[str], None]:
        """Yield the ids of results within `bounds` that are older than `version`, up to `batch_size` at a time.

        Each batch has its own read time. A result that is replaced during the scan keeps its position or is skipped.
        A batch can be empty.
        """
        if bounds:
            query = self._query(submitter, bounds, Order("timestamp"), select=("statistics_version",))
        else:
            older = Bound("statistics_version", "<", version)
            ordered = OrderedQuery(document_paths.RESULTS, Order(older.field), bounds=[older], select=(older.field,))
            query = ShardedQuery(self._firestore, submitter, self._shards, ordered)
        async with aclosing(query.scan_latest(batch_size)) as batches:
            async for documents in batches:
                yield [
                    document.name.rpartition("/")[2]
                    for document in documents
                    if document.fields["statistics_version"].integer_value < version
                ]

    def _query(self, submitter: str, bounds: Sequence[Bound], order: Order, select: Sequence[str] = ()) -> ShardedQuery:
        indexed = {order.field, *INDEXED_FIELDS}
        later_bounds = [bound for bound in bounds if bound.field not in indexed]
        query = OrderedQuery(
            document_paths.RESULTS,
            order,
            then=INDEXED_FIELDS,
            equal={"status": Status.COMPUTED.value},
            bounds=[bound for bound in bounds if bound.field in indexed],
            select=(*select, *(bound.field for bound in later_bounds)) if select else (),
        )
        document_filter = partial(_are_within, later_bounds) if later_bounds else None
        return ShardedQuery(self._firestore, submitter, self._shards, query, document_filter)


def decode_result(submitter: str, document: Any) -> Result:
    """Return the result in a protocol `Document`."""
    return Result.from_fields(submitter, document.name.rpartition("/")[2], encoding.from_document(document))


async def _are_within(bounds: Sequence[Bound], documents: Sequence[Any]) -> list[bool]:
    return [all(bound.contains(_value(document, bound.field)) for bound in bounds) for document in documents]


def _value(document: Any, field: str) -> Any:
    return encoding.from_value(document.fields[field]) if field in document.fields else None
