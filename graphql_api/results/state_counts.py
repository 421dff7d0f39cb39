"""The number of samples in a state that depends on their results, counted by Firestore without reading each sample.

Each accepted sample is PENDING, or its result determines its state. Firestore counts the accepted samples and the
results. Results can be kept longer than their samples. Such results do not count if they were submitted before the
earliest sample. If samples expire before earlier samples, for example because the retention was set later, then more
results than samples are found. In this case, only samples of the last 23 hours count as PENDING, and FAILED and
SUPERSEDED results are read to find out whether their samples exist. All other samples are COMPUTED.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from cachetools import TTLCache

from graphql_api.results.filters import EVERYTHING, Bound, Order, Selection
from graphql_api.results.ordered_query import OrderedQuery
from graphql_api.results.result_listing import are_within, results_of_status
from graphql_api.results.sharded_query import DocumentFilter, ShardedQuery
from runtime.shared_tasks import SharedTasks
from storage.documents import Arrival, SampleState, Status, document_paths, is_of_sample
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.messages import Document

OUTCOMES = (Status.COMPUTED, Status.SUPERSEDED, Status.FAILED)
"""The outcomes of samples that exist. A tombstone has no sample."""

_FEW_OUTCOMES = (Status.SUPERSEDED, Status.FAILED)
_ACCEPTED = {"state_on_arrival": Arrival.ACCEPTED.value}
_RECENT = timedelta(hours=23)
"""No sample expires within a day, so the samples of this time all exist. An event is retried for a day, so few samples
are PENDING for longer. The start is a full hour, because the embedded Firestore remembers the count of a query.
"""
_CHECK_SECONDS = 60.0
"""For how long the API remembers whether samples of a submitter have expired before earlier samples."""
_MAX_REMEMBERED_SUBMITTERS = 10_000


@dataclass(frozen=True, slots=True)
class _Counts:
    """Counts of a submitter at one read time, with which the samples in a state are counted."""

    accepted: int
    """The selected samples that were accepted."""

    timed_results: int
    """All results with a time of submission."""

    results: Mapping[Status, int]
    """All results, also those without a time of submission."""

    selected_results: int
    """The selected results since the earliest selected sample. With labels, only those of the wanted statuses."""

    @property
    def all_results(self) -> int:
        """The number of all results."""
        return sum(self.results.values())


class StateCounts:
    """Counts samples. Callers pass the submitter of the authenticated credential."""

    def __init__(self, firestore: Firestore, *, shards: int) -> None:
        self._firestore = firestore
        self._shards = shards
        self._expired: TTLCache[str, bool] = TTLCache(_MAX_REMEMBERED_SUBMITTERS, _CHECK_SECONDS)
        self._checks = SharedTasks[str, bool]()
        """The checks in progress. The dashboard counts several states at the same time."""

    async def count(self, submitter: str, state: SampleState, selection: Selection) -> int | None:
        """Return the number of accepted samples in `state`, which is PENDING or an outcome.

        Return None if some results cannot be counted, or if a read of the samples is faster. Results of earlier
        releases and tombstones lack the time of submission, so the index with this time does not contain them.
        """
        since = await self._since_earliest(submitter, selection)
        if since is None:
            return 0
        has_expired = self._expired.get(submitter)
        if has_expired is None:
            has_expired = await self._checks.run(submitter, partial(self._have_later_samples_expired, submitter))
        if has_expired:
            return await self._count_existing(submitter, state, selection)
        if state is SampleState.PENDING:
            counts = await self._read_counts(submitter, selection, since, OUTCOMES)
            if counts.timed_results == counts.all_results:
                return counts.accepted - counts.selected_results
            return counts.accepted - counts.all_results if selection.is_everything else None
        status = Status(state.value)
        counts = await self._read_counts(submitter, selection, since, (status,))
        if selection.is_everything and counts.selected_results == counts.timed_results:
            return counts.results[status]  # no result is kept longer than its sample
        if counts.timed_results != counts.all_results:
            return None
        if selection.labels:
            return counts.selected_results
        # No index has the state and the time of submission. Few results are FAILED or SUPERSEDED, so these are read.
        are_selected = partial(are_within, since.bounds)
        others = await self._read_few(submitter, state, counts.results, counts.accepted, are_selected)
        return others if others is None or state is not SampleState.COMPUTED else counts.selected_results - others

    async def _read_counts(
        self, submitter: str, selection: Selection, since: Selection, statuses: Sequence[Status]
    ) -> _Counts:
        """Count samples and results. `since` is the selection since its earliest sample."""
        accepted, timed, *of_statuses, selected = await self._count_all(
            [
                [self._accepted(submitter, selection)],
                [self._query(submitter, by_submission(document_paths.RESULTS, {}, EVERYTHING))],
                *([self._query(submitter, results_of_status(each))] for each in OUTCOMES),
                self._results(submitter, since, statuses),
            ]
        )
        return _Counts(accepted, timed, dict(zip(OUTCOMES, of_statuses, strict=True)), selected)

    async def _since_earliest(self, submitter: str, selection: Selection) -> Selection | None:
        """Return the selection since its earliest accepted sample, or None if it contains no sample."""
        earliest = await self._query(submitter, by_submission(document_paths.SAMPLES, _ACCEPTED, selection)).first()
        if earliest is None:
            return None
        since = Bound("submitted_at", ">=", encoding.field_time(earliest, "submitted_at"))
        return replace(selection, bounds=[*selection.bounds, since])

    async def _have_later_samples_expired(self, submitter: str) -> bool:
        """Return whether results are kept of samples that have expired before earlier samples. Remember the answer."""
        if (since := await self._since_earliest(submitter, EVERYTHING)) is None:
            return False
        recent = await self._recent(EVERYTHING)
        accepted, found, recent_accepted, recent_found = await self._count_all(
            [
                [self._accepted(submitter, EVERYTHING)],
                self._results(submitter, since),
                [self._accepted(submitter, recent)],
                self._results(submitter, recent),
            ]
        )
        self._expired[submitter] = has_expired = accepted - found < recent_accepted - recent_found
        return has_expired

    async def _count_existing(self, submitter: str, state: SampleState, selection: Selection) -> int | None:
        """Return the number of samples in a state, although results of expired samples are found too."""
        recent = await self._recent(selection)
        queries = [
            [self._accepted(submitter, selection)],
            [self._accepted(submitter, recent)],
            self._results(submitter, recent),
            *([self._query(submitter, results_of_status(each))] for each in _FEW_OUTCOMES),
        ]
        accepted, recent_accepted, recent_found, *counts = await self._count_all(queries)
        pending = max(0, recent_accepted - recent_found)
        if state is SampleState.PENDING:
            return pending
        have_samples = partial(self._have_samples, submitter, selection)
        outcomes = dict(zip(_FEW_OUTCOMES, counts, strict=True))
        others = await self._read_few(submitter, state, outcomes, accepted, have_samples)
        return others if others is None or state is not SampleState.COMPUTED else accepted - pending - others

    async def _read_few(
        self,
        submitter: str,
        state: SampleState,
        outcomes: Mapping[Status, int],
        max_results: int,
        document_filter: DocumentFilter,
    ) -> int | None:
        """Return the number of results in `state` that pass the filter. For COMPUTED: in all other states.

        Return None if more than `max_results` results had to be read.
        """
        read = _FEW_OUTCOMES if state is SampleState.COMPUTED else (Status(state.value),)
        if sum(outcomes[each] for each in read) > max_results:
            return None
        select = ("status", "submitted_at", "sample_update_time", "label_terms")
        queries = [self._query(submitter, results_of_status(each, select), document_filter) for each in read]
        return sum(await asyncio.gather(*(query.count() for query in queries)))

    async def _have_samples(self, submitter: str, selection: Selection, results: Sequence[Document]) -> list[bool]:
        """Return whether each of these results is selected, and belongs to a sample that exists."""
        paths = [document_paths.sample(submitter, document_paths.id_of(result.name)) for result in results]
        headers = await self._firestore.batch_get_page(paths, mask=("submitted_at",))
        within = await are_within(selection.bounds, results)
        return [
            is_within and path in headers and _has_labels(result, selection) and belongs_to(result, headers[path])
            for is_within, result, path in zip(within, results, paths, strict=True)
        ]

    async def _recent(self, selection: Selection) -> Selection:
        """Return the selection since a full hour."""
        started = (await self._firestore.now() - _RECENT).replace(minute=0, second=0, microsecond=0)
        return replace(selection, bounds=[*selection.bounds, Bound("submitted_at", ">=", started)])

    def _accepted(self, submitter: str, selection: Selection) -> ShardedQuery:
        order = Order("submitted_at", descending=True)
        query = OrderedQuery(document_paths.SAMPLES, order, equal=_ACCEPTED, selection=selection, select=("shard",))
        return self._query(submitter, query)

    def _results(
        self, submitter: str, selection: Selection, statuses: Sequence[Status] = OUTCOMES
    ) -> list[ShardedQuery]:
        """Return the queries of the selected results: with labels, one of each status, otherwise one of all results."""
        conditions = [{"status": each.value} for each in statuses] if selection.labels else [{}]
        return [self._query(submitter, by_submission(document_paths.RESULTS, each, selection)) for each in conditions]

    async def _count_all(self, queries: Sequence[Sequence[ShardedQuery]]) -> list[int]:
        """Return the sums of the counts, at one read time."""
        read_time = await self._firestore.now()

        async def count(parts: Sequence[ShardedQuery]) -> int:
            return sum(await asyncio.gather(*(part.count(read_time) for part in parts)))

        return await asyncio.gather(*map(count, queries))

    def _query(
        self, submitter: str, query: OrderedQuery, document_filter: DocumentFilter | None = None
    ) -> ShardedQuery:
        return ShardedQuery(self._firestore, submitter, self._shards, query, document_filter)


def by_submission(
    collection: str, equal: Mapping[str, str], selection: Selection, select: Sequence[str] = ()
) -> OrderedQuery:
    """Return a query of samples or results, the earliest submission first."""
    return OrderedQuery(collection, Order("submitted_at"), equal=equal, selection=selection, select=select)


def _has_labels(result: Document, selection: Selection) -> bool:
    terms = result.fields["label_terms"].array_value.values if "label_terms" in result.fields else ()
    return selection.label_term is None or any(term.string_value == selection.label_term for term in terms)


def belongs_to(result: Document, header: Document) -> bool:
    """Return whether a result belongs to the sample with this header, and not to an earlier sample with the same id.

    The field `submitted_at` of both must be read, and the fields `status` and `sample_update_time` of the result.
    """
    return is_of_sample(encoding.from_document(result), encoding.field_time(header, "submitted_at"))
