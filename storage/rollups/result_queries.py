"""Queries of the computed results of a submitter: by time stamp, and by the time of the computation.

Each query has the order of a composite index in `infra/gcp/firestore.indexes.json`, and is sent to each shard.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Any

from storage.documents import Status, document_paths
from storage.documents.statistics import INDEXED_FIELDS, STATISTICS_VERSION
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.messages import Document, StructuredQuery
from storage.firestore.reads.query_conditions import add_condition
from storage.rollups.merged_statistics import FIELDS, MergedStatistics, ResultStatistics
from storage.rollups.rollup import EARLIEST, LATEST

_Operator = StructuredQuery.FieldFilter
_BATCH_SIZE = 2_000
SUMMARIZED_FIELDS = ("timestamp", *FIELDS, "sketch")
"""The fields of a result that `timestamp_of` and `add_result` read."""

_SELECTED = ("sketch", "labels")
"""The fields that are read in addition to the fields of the index."""


class ResultQueries:
    """The computed results of one submitter. A range of time stamps includes its start and excludes its end.

    Each method raises `Unavailable` or `FirestoreError`. `read_time` can be up to an hour ago.
    """

    def __init__(self, firestore: Firestore, submitter: str, *, shards: int) -> None:
        self._firestore = firestore
        self._shards = range(shards)
        self._parent = document_paths.submitter(submitter)

    async def count(self, start: datetime, end: datetime, read_time: datetime, label_term: str | None = None) -> int:
        """Return the number of results with a time stamp in a range, and with the term `label_term` if it is set."""
        queries = [_query(shard, "timestamp", _stamped_within(start, end)) for shard in self._shards]
        if label_term is not None:
            for query in queries:
                add_condition(query, "label_terms", _Operator.ARRAY_CONTAINS, label_term)
        return await self._count(queries, read_time)

    async def count_up_to(self, limit: int) -> int:
        """Return the number of results, up to `limit` for each shard."""
        queries = [_query(shard, "timestamp") for shard in self._shards]
        for query in queries:
            query.limit.value = limit
        return await self._count(queries, None)

    async def count_series(self, limit: int) -> int:
        """Return the number of combinations of labels of the samples, up to `limit`."""
        query = StructuredQuery()
        query.from_.add(collection_id=document_paths.SERIES)
        query.limit.value = limit
        return await self._firestore.count(self._parent, query)

    async def count_changes(
        self, since: datetime, read_time: datetime, *, until: datetime = LATEST, is_computed: bool = True
    ) -> int:
        """Return the number of results that were computed from `since` up to and including `until`.

        With `is_computed=False`, results of every status are counted, including tombstones.
        """
        changed = _computed_within(since, until)
        if is_computed:
            queries = [_query(shard, "computed_at", changed) for shard in self._shards]
        else:
            queries = [_query_of_each_status(shard, changed) for shard in self._shards]
        return await self._count(queries, read_time)

    async def count_new_failed(self, since: datetime, read_time: datetime) -> int:
        """Return the number of FAILED results since `since` that replaced no other result of their samples.

        Results of another statistics version are not counted.
        """
        found = 0
        for shard in self._shards:
            query = _query_of_each_status(shard, _computed_within(since, LATEST))
            add_condition(query, "status", _Operator.EQUAL, Status.FAILED.value)
            add_condition(query, "statistics_version", _Operator.EQUAL, STATISTICS_VERSION)
            query.order_by.add(direction=StructuredQuery.ASCENDING).field.field_path = "computed_at"
            async for documents in self._batches(query, read_time, ()):
                found += sum(document.create_time == document.update_time for document in documents)
        return found

    async def earliest(self, start: datetime, read_time: datetime) -> datetime | None:
        """Return the earliest time stamp at `start` or later, or None."""
        queries = [_query(shard, "timestamp", _stamped_within(start, LATEST)) for shard in self._shards]
        for query in queries:
            query.limit.value = 1
        found = await asyncio.gather(*(self._firestore.documents(self._parent, each, read_time) for each in queries))
        return min((timestamp_of(document) for documents in found for document in documents), default=None)

    async def results(
        self, start: datetime, end: datetime, read_time: datetime
    ) -> AsyncGenerator[Sequence[Document], None]:
        """Yield the results with a time stamp in a range as protocol `Document`s, shard by shard, in batches."""
        for shard in self._shards:
            query = _query(shard, "timestamp", _stamped_within(start, end))
            async for documents in self._batches(query, read_time):
                yield documents

    async def changes(
        self,
        since: datetime,
        start: datetime,
        end: datetime,
        read_time: datetime,
        select: Sequence[str] = _SELECTED,
        until: datetime = LATEST,
    ) -> AsyncGenerator[Sequence[Document], None]:
        """Yield the results that were computed from `since` up to and including `until`, in batches.

        Their time stamps are in a range.
        """
        bounds = [*_computed_within(since, until), *_stamped_within(start, end)]
        for shard in self._shards:
            async for documents in self._batches(_query(shard, "computed_at", bounds), read_time, select):
                yield documents

    async def _count(self, queries: Sequence[StructuredQuery], read_time: datetime | None) -> int:
        return sum(await asyncio.gather(*(self._firestore.count(self._parent, each, read_time) for each in queries)))

    def _batches(
        self, query: StructuredQuery, read_time: datetime, select: Sequence[str] = _SELECTED
    ) -> AsyncGenerator[Sequence[Document], None]:
        for field in (*(each.field.field_path for each in query.order_by), *select):
            query.select.fields.add(field_path=field)
        return self._firestore.pages(self._parent, query, _BATCH_SIZE, read_time)


def add_result(merged: MergedStatistics, document: Document) -> None:
    """Add a result, a protocol `Document`, to merged statistics."""
    fields: Any = document.fields
    statistics = ResultStatistics(*(encoding.from_value(fields[name]) for name in FIELDS))  # type: ignore[arg-type]
    merged.add(statistics, fields["sketch"].bytes_value or None)


def timestamp_of(document: Document) -> datetime:
    """Return the time stamp of a result."""
    return encoding.field_time(document, "timestamp")


def _stamped_within(start: datetime, end: datetime) -> list[tuple[str, int, datetime]]:
    bounds = [] if start == EARLIEST else [("timestamp", _Operator.GREATER_THAN_OR_EQUAL, start)]
    return [*bounds, ("timestamp", _Operator.LESS_THAN, end)]


def _computed_within(since: datetime, until: datetime) -> list[tuple[str, int, datetime]]:
    bounds = [] if until == LATEST else [("computed_at", int(_Operator.LESS_THAN_OR_EQUAL), until)]
    return [("computed_at", _Operator.GREATER_THAN_OR_EQUAL, since), *bounds]


def _query(shard: int, order: str, bounds: Sequence[tuple[str, int, datetime]] = ()) -> StructuredQuery:
    """Return a query of the computed results of a shard in the order of a composite index."""
    query = _query_of_each_status(shard, bounds)
    add_condition(query, "status", _Operator.EQUAL, Status.COMPUTED.value)
    for field in dict.fromkeys((order, *INDEXED_FIELDS)):
        query.order_by.add(direction=StructuredQuery.ASCENDING).field.field_path = field
    return query


def _query_of_each_status(shard: int, bounds: Sequence[tuple[str, int, datetime]]) -> StructuredQuery:
    query = StructuredQuery()
    query.from_.add(collection_id=document_paths.RESULTS)
    add_condition(query, "shard", _Operator.EQUAL, shard)
    for field, operator, value in bounds:
        add_condition(query, field, operator, value)
    return query
