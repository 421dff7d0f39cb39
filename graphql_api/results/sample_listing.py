"""Lists of samples, the newest first, read as pages or as a count.

A header contains only the state on arrival. The state of an accepted sample, PENDING, COMPUTED or FAILED, depends on
its result. If a list is filtered by one of these states, this module reads the result of each sample. The index with
labels does not contain the state on arrival. If a list is filtered by a state and by labels, this module checks the
state after reading the samples. The index without labels contains the state on arrival. A list of all samples therefore
asks for both states.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from functools import partial
from typing import Any

from graphql_api.results.filters import EVERYTHING, Bound, Order, Selection
from graphql_api.results.ordered_query import OrderedQuery
from graphql_api.results.pagination import Page, PageRequest
from graphql_api.results.result_listing import results_of_status
from graphql_api.results.sharded_query import DocumentFilter, ShardedQuery
from storage.documents import Arrival, Header, SampleState, Status, document_paths, state_of
from storage.firestore import encoding
from storage.firestore.client import Firestore

HEADER_FIELDS = (
    "state_on_arrival",
    "problems",
    "submitted_at",
    "recompute_requested_at",
    "time_stamp",
    "time_zone",
    "count",
    "bytes",
    "sha256",
    "chunks",
    "shard",
    "labels",
    "superseded_by",
    "superseded_at",
    "submitted_by",
    "missing_count",
    "expire_at",
)
"""The fields of a header without the raw document."""

_OUTCOMES = (Status.COMPUTED, Status.SUPERSEDED, Status.FAILED)
"""The outcomes of samples that exist. A tombstone has no sample."""

_NEWEST_FIRST = Order("submitted_at", descending=True)


class SampleListing:
    """Lists the samples of one submitter. Callers pass the submitter of the authenticated credential."""

    def __init__(self, firestore: Firestore, *, shards: int) -> None:
        self._firestore = firestore
        self._shards = shards

    async def page(
        self, submitter: str, state: SampleState | None, selection: Selection, request: PageRequest
    ) -> Page[Header]:
        """Return the samples of `request` that are in `state` and that `selection` selects.

        With the states PENDING, COMPUTED and FAILED, a page can have fewer samples than requested although more samples
        follow.
        """
        page = await self._samples(submitter, state, selection, HEADER_FIELDS).page(request)
        return page.map(partial(decode_header, submitter))

    async def count(self, submitter: str, state: SampleState | None, selection: Selection) -> int:
        """Return the number of samples in `state` that `selection` selects.

        With labels, and for COMPUTED and FAILED also with bounds, each selected sample is read.
        """
        if state is None and not selection.labels:
            counts = (self._headers(submitter, arrival, selection, ("shard",)).count() for arrival in Arrival)
            return sum(await asyncio.gather(*counts))
        if state is SampleState.PENDING and not selection.labels:
            pending = await self._count_pending(submitter, selection)
            if pending is not None:
                return pending
        if state is None or state is SampleState.REJECTED or not selection.is_everything:
            return await self._samples(submitter, state, selection, ("shard",)).count()
        return await self._results(submitter, Status(state.value)).count()

    async def _count_pending(self, submitter: str, selection: Selection) -> int | None:
        """Return the number of accepted samples without the number of results, or None if these differ in their fields.

        Results of earlier releases lack the time of submission, and are not in its index. Tombstones lack it too.
        Results can be kept longer than samples, so results from before the earliest sample do not count.
        """
        accepted = self._headers(submitter, Arrival.ACCEPTED, selection, ("shard",))
        ascending = OrderedQuery(
            document_paths.SAMPLES,
            Order("submitted_at"),
            equal={"state_on_arrival": Arrival.ACCEPTED.value},
            selection=selection,
        )
        earliest = await self._query(submitter, ascending).first()
        if earliest is None:
            return 0
        since = Bound("submitted_at", ">=", _time(earliest, "submitted_at"))
        with_time = (
            OrderedQuery(document_paths.RESULTS, Order("submitted_at"), selection=each)
            for each in (Selection([*selection.bounds, since]), EVERYTHING)
        )
        queries = [accepted, *(self._query(submitter, each) for each in with_time)]
        queries += [self._results(submitter, status) for status in _OUTCOMES]
        read_time = await self._firestore.now()
        stored, computed, timed, *outcomes = await asyncio.gather(*(query.count(read_time) for query in queries))
        if timed == sum(outcomes):
            return max(0, stored - computed)
        return stored - sum(outcomes) if selection.is_everything else None

    async def ids(
        self, submitter: str, state: SampleState | None, selection: Selection, batch_size: int
    ) -> AsyncGenerator[Sequence[str], None]:
        """Yield the ids of samples in `state` that `selection` selects, the newest first. A batch can be empty.

        Each batch has its own read time.
        """
        query = self._samples(submitter, state, selection, ("shard",))
        async with aclosing(query.scan_latest(batch_size)) as batches:
            async for documents in batches:
                yield [document.name.rpartition("/")[2] for document in documents]

    async def pending_ids(
        self, submitter: str, before: datetime, batch_size: int
    ) -> AsyncGenerator[Sequence[str], None]:
        """Yield the ids of PENDING samples that were submitted before a time. A batch can be empty.

        Reads nothing more if a count says that no sample is PENDING.
        """
        if await self.count(submitter, SampleState.PENDING, EVERYTHING) == 0:
            return
        earlier = Selection([Bound("submitted_at", "<", before)])
        async with aclosing(self.ids(submitter, SampleState.PENDING, earlier, batch_size)) as batches:
            async for ids in batches:
                yield ids

    def _samples(
        self, submitter: str, state: SampleState | None, selection: Selection, select: Sequence[str]
    ) -> ShardedQuery:
        if state is None:
            return self._headers(submitter, None, selection, select)
        if state is SampleState.REJECTED and not selection.labels:
            return self._headers(submitter, Arrival.REJECTED, selection, select)
        in_state = partial(self._are_in_state, submitter, state)
        arrival = None if selection.labels else Arrival.ACCEPTED
        return self._headers(submitter, arrival, selection, ("state_on_arrival", "expire_at", *select), in_state)

    def _headers(
        self,
        submitter: str,
        arrival: Arrival | None,
        selection: Selection,
        select: Sequence[str],
        document_filter: DocumentFilter | None = None,
    ) -> ShardedQuery:
        equal: dict[str, str | tuple[str, ...]] = {}
        if arrival is not None:
            equal["state_on_arrival"] = arrival.value
        elif not selection.labels:
            equal["state_on_arrival"] = tuple(each.value for each in Arrival)
        query = OrderedQuery(document_paths.SAMPLES, _NEWEST_FIRST, equal=equal, selection=selection, select=select)
        return ShardedQuery(self._firestore, submitter, self._shards, query, document_filter)

    def _results(self, submitter: str, status: Status) -> ShardedQuery:
        return self._query(submitter, results_of_status(status))

    def _query(self, submitter: str, query: OrderedQuery) -> ShardedQuery:
        return ShardedQuery(self._firestore, submitter, self._shards, query)

    async def _are_in_state(self, submitter: str, state: SampleState, headers: Sequence[Any]) -> list[bool]:
        accepted = {
            header.name: document_paths.result(submitter, header.name.rpartition("/")[2])
            for header in headers
            if header.fields["state_on_arrival"].string_value != Arrival.REJECTED
        }
        is_read = accepted and state is not SampleState.REJECTED
        mask = ("status", "sample_update_time")
        results = await self._firestore.batch_get(accepted.values(), mask=mask) if is_read else {}
        return [_state(header, accepted, results) == state for header in headers]


def decode_header(submitter: str, document: Any) -> Header:
    """Return the header in a protocol `Document`. Damaged fields have default values."""
    return Header.from_damaged_fields(submitter, document.name.rpartition("/")[2], encoding.from_document(document))


def _state(header: Any, accepted: Mapping[str, str], results: Mapping[str, Any]) -> str:
    """Return the state of a sample. `accepted` has the paths of the results of accepted samples."""
    if header.name not in accepted:
        return SampleState.REJECTED
    result = results.get(accepted[header.name])
    if result is None:
        expire_at = _time(header, "expire_at") if "expire_at" in header.fields else None
        return state_of(Arrival.ACCEPTED, expire_at=expire_at)
    status: str = result.fields["status"].string_value
    if status == Status.DELETED and _time(result, "sample_update_time") < _time(header, "submitted_at"):
        return SampleState.PENDING  # the tombstone is of an earlier sample with the same id
    return status


def _time(document: Any, field: str) -> datetime:
    return encoding.to_datetime(document.fields[field].timestamp_value)
