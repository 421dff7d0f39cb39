"""The due results of a submitter: expired results that cannot be computed again, because their samples are deleted.

A recomputation needs the sample. The function ignores an event if the sample does not exist, but it may have read the
sample shortly before the deletion. A result is therefore due only if its sample was already deleted `SETTLED` ago. By
then, each attempt that has read the sample has ended. Otherwise, a result could be written again after it was moved.

A later sample with the same idempotency key can have the id of an expired result. If it is accepted, the function gives
the result a new id. If it is REJECTED, the function computes nothing, so the result is due.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta

from storage.documents import Arrival, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.messages import Document, StructuredQuery
from storage.firestore.reads.query_conditions import add_condition
from storage.rollups.result_queries import SUMMARIZED_FIELDS

SETTLED = timedelta(minutes=15)
"""Longer than an attempt to compute a sample, and less than the hour for which Firestore keeps earlier versions."""

_Operator = StructuredQuery.FieldFilter
_BATCH_SIZE = 500
_SELECTED = (*SUMMARIZED_FIELDS, "labels", "archive_at", "archiving")


class DueResults:
    """Reads the due results of one submitter. Each method raises `Unavailable` or `FirestoreError`."""

    def __init__(self, firestore: Firestore, submitter: str, *, shards: int) -> None:
        self._firestore = firestore
        self._submitter = submitter
        self._parent = document_paths.submitter(submitter)
        self._shards = range(shards)
        self.waiting_since: datetime | None = None
        """The earliest expiry of the results that wait for the deletion of their samples. None if no result waits."""

    async def batches(self) -> AsyncGenerator[Sequence[Document], None]:
        """Yield the due results as protocol `Document`s, shard by shard. A shard is in the order of expiry.

        A batch can be empty. A result can be moved or replaced by another instance after it was read.
        """
        now = await self._firestore.now()
        for shard in self._shards:
            async with aclosing(self._firestore.pages(self._parent, _query(shard, now), _BATCH_SIZE)) as pages:
                async for results in pages:
                    yield await self._without_sample(results)
            yield []  # so that the caller checks its deadline, even if no result of this shard is due

    async def _without_sample(self, results: Sequence[Document]) -> list[Document]:
        """Return the results whose samples do not exist, and did not exist `SETTLED` ago."""
        samples = [document_paths.sample(self._submitter, document_paths.id_of(each.name)) for each in results]
        settled = await self._firestore.now() - SETTLED
        existing = await self._accepted(samples, settled) | await self._accepted(samples)
        due = []
        for sample, result in zip(samples, results, strict=True):
            if sample not in existing:
                due.append(result)
                continue
            expired_at = encoding.field_time(result, "archive_at")
            self.waiting_since = expired_at if self.waiting_since is None else min(self.waiting_since, expired_at)
        return due

    async def _accepted(self, samples: Sequence[str], read_time: datetime | None = None) -> set[str]:
        """Return the paths of the accepted samples that exist."""
        headers = await self._firestore.batch_get(samples, mask=["state_on_arrival"], read_time=read_time)
        return {
            path
            for path, header in headers.items()
            if header.fields["state_on_arrival"].string_value != Arrival.REJECTED.value
        }


def _query(shard: int, now: datetime) -> StructuredQuery:
    query = StructuredQuery()
    query.from_.add(collection_id=document_paths.RESULTS)
    add_condition(query, "shard", _Operator.EQUAL, shard)
    add_condition(query, "archive_at", _Operator.LESS_THAN_OR_EQUAL, now)
    query.order_by.add(direction=StructuredQuery.ASCENDING).field.field_path = "archive_at"
    for field in _SELECTED:
        query.select.fields.add(field_path=field)
    return query
