"""The number of samples in a state that depends on their results, counted by Firestore without reading each sample.

Each accepted sample is PENDING, or its result determines its state. Firestore counts the accepted samples and the
results. Results can be kept longer than their samples. Such results do not count if they were submitted before the
earliest sample. If samples expire before earlier samples, for example because the retention was set later, then more
results than samples are found. In this case, only samples of the last hours count as PENDING, and FAILED and SUPERSEDED
results are read to find out whether their samples exist. All other samples are COMPUTED.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from graphql_api.results.filters import EVERYTHING, Bound, Order, Selection
from graphql_api.results.ordered_query import OrderedQuery
from graphql_api.results.result_listing import are_within, results_of_status
from graphql_api.results.sharded_query import DocumentFilter, ShardedQuery
from storage.documents import Arrival, SampleState, Status, document_paths, is_of_sample
from storage.firestore import encoding
from storage.firestore.client import Firestore

OUTCOMES = (Status.COMPUTED, Status.SUPERSEDED, Status.FAILED)
"""The outcomes of samples that exist. A tombstone has no sample."""

_FEW_OUTCOMES = (Status.SUPERSEDED, Status.FAILED)
_RECENT = timedelta(hours=1)
"""No sample expires within a day, so the samples of this time all exist. The start is a full hour, because the embedded
Firestore remembers the count of a query.
"""


class _Counts(NamedTuple):
    """Numbers of documents at one read time."""

    accepted: int
    """Selected samples that are accepted."""
    found: int
    """Selected results since the earliest of these samples."""
    recent_pending: int
    """Selected samples of the last hours without a result."""
    outcomes: Mapping[Status, int]
    """All results of the submitter by status."""
    timed: int
    """All results of the submitter that have a time of submission. Results of earlier releases lack it."""

    @property
    def has_expired_samples(self) -> bool:
        """Whether some of the results found belong to samples that have expired."""
        return self.accepted - self.found < self.recent_pending


class StateCounts:
    """Counts the samples of one submitter."""

    def __init__(self, firestore: Firestore, submitter: str, shards: int) -> None:
        self._firestore = firestore
        self._submitter = submitter
        self._shards = shards

    async def count(self, state: SampleState, selection: Selection) -> int | None:
        """Return the number of accepted samples in `state`, which is PENDING or an outcome.

        Return None if some results cannot be counted, or if a read of the samples is faster.
        """
        accepted = {"state_on_arrival": Arrival.ACCEPTED.value}
        earliest = await self._query(by_submission(document_paths.SAMPLES, accepted, selection)).first()
        if earliest is None:
            return 0
        since = Bound("submitted_at", ">=", encoding.to_datetime(earliest.fields["submitted_at"].timestamp_value))
        selected = replace(selection, bounds=[*selection.bounds, since])
        counts = await self._count(selection, selected)
        if counts.has_expired_samples:
            return await self._count_existing(state, selection, counts)
        if state is SampleState.PENDING:
            if counts.timed == sum(counts.outcomes.values()):
                return counts.accepted - counts.found
            return counts.accepted - sum(counts.outcomes.values()) if selection.is_everything else None
        if selection.is_everything and counts.found == counts.timed:
            return counts.outcomes[Status(state.value)]  # no result is kept longer than its sample
        if counts.timed != sum(counts.outcomes.values()):
            return None
        if selection.labels:
            return await self._count_results(selected, Status(state.value))
        # No index has the state and the time of submission. Few results are FAILED or SUPERSEDED, so these are read.
        read = _FEW_OUTCOMES if state is SampleState.COMPUTED else (Status(state.value),)
        if sum(counts.outcomes[each] for each in read) > counts.accepted:
            return None
        within = partial(are_within, selected.bounds)
        queries = [self._query(results_of_status(each, ("submitted_at",)), within) for each in read]
        others = sum(await asyncio.gather(*(query.count() for query in queries)))
        return counts.found - others if state is SampleState.COMPUTED else others

    async def _count(self, selection: Selection, selected: Selection) -> _Counts:
        """Return the counts of a selection. `selected` is the selection since its earliest sample."""
        read_time = await self._firestore.now()
        started = (read_time - _RECENT).replace(minute=0, second=0, microsecond=0)
        recent = replace(selection, bounds=[*selection.bounds, Bound("submitted_at", ">=", started)])
        queries = [
            [self._query(by_submission(document_paths.RESULTS, {}, EVERYTHING))],
            *([self._query(results_of_status(each))] for each in OUTCOMES),
            *([self._accepted(each)] for each in (selection, recent)),
            *(self._results(each) for each in (selected, recent)),
        ]

        async def count(parts: Sequence[ShardedQuery]) -> int:
            return sum(await asyncio.gather(*(part.count(read_time) for part in parts)))

        timed, computed, superseded, failed, accepted, recent_accepted, found, recent_found = await asyncio.gather(
            *map(count, queries)
        )
        outcomes = dict(zip(OUTCOMES, (computed, superseded, failed), strict=True))
        return _Counts(accepted, found, max(0, recent_accepted - recent_found), outcomes, timed)

    async def _count_results(self, selected: Selection, status: Status) -> int:
        return await self._query(by_submission(document_paths.RESULTS, {"status": status.value}, selected)).count()

    async def _count_existing(self, state: SampleState, selection: Selection, counts: _Counts) -> int | None:
        """Return the number of samples in a state, although results of expired samples are found too."""
        if state is SampleState.PENDING:
            return counts.recent_pending
        read = _FEW_OUTCOMES if state is SampleState.COMPUTED else (Status(state.value),)
        if sum(counts.outcomes[each] for each in read) > counts.accepted:
            return None
        existing = partial(self._have_samples, selection.bounds)
        select = ("status", "submitted_at", "sample_update_time")
        queries = [
            by_submission(document_paths.RESULTS, {"status": each.value}, selection, select)
            if selection.labels
            else results_of_status(each, select)
            for each in read
        ]
        others = sum(await asyncio.gather(*(self._query(query, existing).count() for query in queries)))
        return counts.accepted - counts.recent_pending - others if state is SampleState.COMPUTED else others

    async def _have_samples(self, bounds: Sequence[Bound], results: Sequence[Any]) -> list[bool]:
        """Return whether each of these results is within the bounds, and belongs to a sample that exists."""
        paths = [document_paths.sample(self._submitter, result.name.rpartition("/")[2]) for result in results]
        headers = await self._firestore.batch_get(paths, mask=("submitted_at",))
        within = await are_within(bounds, results)
        return [
            is_within and path in headers and _belongs_to(result, headers[path])
            for is_within, result, path in zip(within, results, paths, strict=True)
        ]

    def _accepted(self, selection: Selection) -> ShardedQuery:
        accepted = {"state_on_arrival": Arrival.ACCEPTED.value}
        order = Order("submitted_at", descending=True)
        query = OrderedQuery(document_paths.SAMPLES, order, equal=accepted, selection=selection, select=("shard",))
        return self._query(query)

    def _results(self, selection: Selection) -> list[ShardedQuery]:
        """Return the queries of all selected results. The index of labels has a status."""
        conditions = [{"status": each.value} for each in OUTCOMES] if selection.labels else [{}]
        return [self._query(by_submission(document_paths.RESULTS, each, selection)) for each in conditions]

    def _query(self, query: OrderedQuery, document_filter: DocumentFilter | None = None) -> ShardedQuery:
        return ShardedQuery(self._firestore, self._submitter, self._shards, query, document_filter)


def by_submission(
    collection: str, equal: Mapping[str, str], selection: Selection, select: Sequence[str] = ()
) -> OrderedQuery:
    """Return a query of samples or results, the earliest submission first."""
    return OrderedQuery(collection, Order("submitted_at"), equal=equal, selection=selection, select=select)


def _belongs_to(result: Any, header: Any) -> bool:
    submitted_at: datetime = encoding.to_datetime(header.fields["submitted_at"].timestamp_value)
    return is_of_sample(encoding.from_document(result), submitted_at)
