"""Results that were written before somebody watched, in the order of the writes.

Firestore can order by no time of the write, only by the server time that a document holds. That is cut to
milliseconds, it is the same for all writes of a commit, and it may be a little older than the commit. So reading
begins somewhat before the place that is asked for, and a result is handed on when nothing that is still to be
read can have been written before it.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import heappop, heappush
from typing import Any

from documents import Result, fields, names
from graphql_api.firestore import Firestore
from graphql_api.structured_query import StructuredQuery

_PAGE = 300
_OLDEST_BEFORE_COMMIT = timedelta(seconds=1)
"""How much older than its commit the server time in a document can be."""

logger = logging.getLogger(__name__)

Place = tuple[datetime, str]
"""Where a result stands in the order of the writes: the time of the write, then the id of the sample."""


@dataclass(frozen=True, slots=True)
class Written:
    """A result and the time at which it was written."""

    at: datetime
    result: Result

    def place(self) -> Place:
        """Return where the result stands in the order of the writes."""
        return self.at, self.result.sample_id


class Replay:
    """Reads what was written to the results of a submitter, whatever shard it is in."""

    def __init__(self, firestore: Firestore, *, shards: int) -> None:
        self._firestore = firestore
        self._shards = shards

    async def written(self, submitter: str, after: Place, until: Place) -> AsyncGenerator[Written, None]:
        """Yield the results written behind `after` up to `until`, a place in the past, in the order of `Place`."""
        held_back: list[tuple[Place, Written]] = []
        async with AsyncExitStack() as stack:
            shards = [
                await stack.enter_async_context(aclosing(self._shard(submitter, shard, after, until)))
                for shard in range(self._shards)
            ]
            heads = dict(zip(shards, await asyncio.gather(*(anext(shard, None) for shard in shards)), strict=True))
            while ahead := {shard: head for shard, head in heads.items() if head is not None}:
                shard = min(ahead, key=lambda each: _computed_at(ahead[each]))
                while held_back and held_back[0][1].at < _computed_at(ahead[shard]):
                    yield heappop(held_back)[1]
                if after < (place := ahead[shard].place()) <= until:
                    heappush(held_back, (place, ahead[shard]))
                heads[shard] = await anext(shard, None)
        while held_back:
            yield heappop(held_back)[1]

    async def _shard(self, submitter: str, shard: int, after: Place, until: Place) -> AsyncGenerator[Written, None]:
        """Yield the results of a shard by the server time that they hold, and some that are not asked for."""
        parent = names.submitter(submitter)
        query = StructuredQuery()
        query.from_.add(collection_id=names.RESULTS)
        query.limit.value = _PAGE
        filters = query.where.composite_filter
        filters.op = StructuredQuery.CompositeFilter.AND
        _compare(filters, "shard", StructuredQuery.FieldFilter.EQUAL, shard)
        since = after[0] - _OLDEST_BEFORE_COMMIT
        _compare(filters, "computed_at", StructuredQuery.FieldFilter.GREATER_THAN_OR_EQUAL, since)
        _compare(filters, "computed_at", StructuredQuery.FieldFilter.LESS_THAN_OR_EQUAL, until[0])
        for field in ("computed_at", "__name__"):
            query.order_by.add(direction=StructuredQuery.ASCENDING).field.field_path = field
        while True:
            documents = [
                answer.document
                async for answer in self._firestore.run_query(parent, query)
                if answer.HasField("document")
            ]
            for document in documents:
                # What comes before the place that is asked for is not worth reading in full.
                if fields.to_datetime(document.update_time) >= after[0]:
                    written = read(submitter, document)
                    if written is not None:
                        yield written
            if len(documents) < _PAGE:
                return
            del query.start_at.values[:]
            query.start_at.values.add().CopyFrom(documents[-1].fields["computed_at"])
            query.start_at.values.add(reference_value=documents[-1].name)
            query.start_at.before = False


def read(submitter: str, document: Any) -> Written | None:
    """Return what a document says; nothing, but for a line in the log, where it is no result."""
    sample_id = document.name.rpartition("/")[2]
    try:
        result = Result.from_fields(submitter, sample_id, fields.from_document(document))
    except (KeyError, TypeError, ValueError):
        logger.exception("passed over %s, which is no result", document.name)
        return None
    return Written(fields.to_datetime(document.update_time), result)


def _compare(filters: Any, field: str, operator: Any, value: object) -> None:
    compared = filters.filters.add().field_filter
    compared.field.field_path, compared.op = field, operator
    compared.value.CopyFrom(fields.to_value(value))


def _computed_at(written: Written) -> datetime:
    computed_at = written.result.computed_at
    assert computed_at is not None
    return computed_at
