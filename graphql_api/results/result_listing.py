"""Lists of computed results: in pages, counted, or scanned.

Firestore leaves documents without a field out of an index with that field. Results of version 1 have no median.
Indexes therefore hold the median only for the order by median. In other orders, a bound on the median is checked
on the documents after they are read.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from graphql_api.results.filters import INDEXED_FIELDS, Bound, Order
from graphql_api.results.ordered_query import OrderedQuery
from graphql_api.results.pagination import Page, PageRequest
from graphql_api.results.sharded_query import ShardedQuery
from storage.documents import Result, Status, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore

_MEDIAN = "median"


class ResultListing:
    """Lists the results of the submitter that each method takes from the caller's credential."""

    def __init__(self, firestore: Firestore, *, shards: int) -> None:
        self._firestore = firestore
        self._shards = shards

    async def page(self, submitter: str, bounds: Sequence[Bound], order: Order, request: PageRequest) -> Page[Result]:
        """Return the computed results of `request` that are within `bounds`.

        With a bound on the median in another order than its own, a page can have fewer results than requested and
        still have a next page.
        """
        page = await self._query(submitter, bounds, order).page(request)
        return page.map(partial(decode_result, submitter))

    async def count(self, submitter: str, bounds: Sequence[Bound]) -> int:
        """Return the number of computed results within `bounds`."""
        has_median = any(bound.field == _MEDIAN for bound in bounds)
        return await self._query(submitter, bounds, Order(_MEDIAN if has_median else "timestamp")).count()

    def scan(
        self, submitter: str, bounds: Sequence[Bound], order: Order, select: Sequence[str], batch_size: int = 2_000
    ) -> AsyncGenerator[list[Any], None]:
        """Yield all computed results within `bounds` as protocol `Document`s, in order, as of one read time.

        About `batch_size` come at a time, with the fields in `select` and those of the order.
        """
        return self._query(submitter, bounds, order, select).scan(batch_size)

    async def outdated_ids(
        self, submitter: str, version: int, bounds: Sequence[Bound], batch_size: int
    ) -> AsyncGenerator[Sequence[str], None]:
        """Yield the ids of results within `bounds` that are older than `version`, up to `batch_size` at a time.

        Each batch is read at its own time. Results that are replaced meanwhile keep their position or are skipped.
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
        median_bounds = [] if order.field == _MEDIAN else [bound for bound in bounds if bound.field == _MEDIAN]
        query = OrderedQuery(
            document_paths.RESULTS,
            order,
            then=INDEXED_FIELDS,
            equal={"status": Status.COMPUTED.value},
            bounds=[bound for bound in bounds if bound not in median_bounds],
            select=(*select, _MEDIAN) if select and median_bounds else select,
        )
        document_filter = partial(_has_median_within, median_bounds) if median_bounds else None
        return ShardedQuery(self._firestore, submitter, self._shards, query, document_filter)


def decode_result(submitter: str, document: Any) -> Result:
    """Return the result that a protocol `Document` holds."""
    return Result.from_fields(submitter, document.name.rpartition("/")[2], encoding.from_document(document))


async def _has_median_within(bounds: Sequence[Bound], documents: Sequence[Any]) -> list[bool]:
    medians = (
        encoding.from_value(document.fields[_MEDIAN]) if _MEDIAN in document.fields else None for document in documents
    )
    return [all(bound.contains(median) for bound in bounds) for median in medians]
