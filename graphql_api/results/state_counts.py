"""The number of samples in a state that depends on their results, counted by Firestore without reading each sample.

Each accepted sample is PENDING, or its result determines its state. Firestore counts the accepted samples and the
results. Results can be kept longer than their samples. Such results do not count if they were submitted before the
earliest sample. If samples expire before earlier samples, for example because the retention was set later, then more
results than samples are found. In this case, only samples of the last 23 hours count as PENDING, and FAILED and
SUPERSEDED results are read to find out whether their samples exist. All other samples are COMPUTED.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

from cachetools import TTLCache

from graphql_api.results.filters import EVERYTHING, Bound, Order, Selection
from graphql_api.results.ordered_query import OrderedQuery
from graphql_api.results.outcomes import NEWEST_FIRST, RARE_OUTCOMES, rare_outcomes, results_by_submission
from graphql_api.results.result_listing import results_with
from graphql_api.results.sharded_query import ShardedQuery
from runtime.shared_tasks import SharedTasks
from storage.documents import OUTCOMES, Arrival, SampleState, Status, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore

_RECENT = timedelta(hours=23)
"""No sample expires within a day, so the samples of this time all exist. An event is retried for a day, so few samples
are PENDING for longer. The start is a full hour, because the embedded Firestore remembers the count of a query.
"""
_CHECK_SECONDS = 60.0
"""For how long the API remembers whether samples of a submitter have expired before earlier samples."""
_MAX_REMEMBERED_SUBMITTERS = 10_000


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

        Return None if a read of the samples is faster, or if some results cannot be counted. Results of earlier
        releases lack the time of submission.
        """
        since = await self._since_earliest(submitter, selection)
        if since is None:
            return 0
        has_expired = self._expired.get(submitter)
        if has_expired is None:
            has_expired = await self._checks.run(submitter, partial(self._have_later_samples_expired, submitter))
        if has_expired:
            return await self._count_existing(submitter, state, selection)
        is_pending = state is SampleState.PENDING
        outcomes = OUTCOMES if is_pending else (Status(state.value),)
        accepted, found, timed, selected = await self._count_all(
            submitter,
            _accepted(selection),
            results_with(outcomes),
            results_by_submission(EVERYTHING, outcomes),
            results_by_submission(since, outcomes),
        )
        if timed == found:
            return accepted - selected if is_pending else selected
        if not selection.is_everything or selected < timed or await self.may_expire(submitter):
            return None  # results without the time can be kept longer than their samples
        return accepted - found if is_pending else found

    async def are_timed(self, submitter: str, outcomes: Sequence[Status]) -> bool:
        """Return whether all results with these outcomes have the time of submission."""
        found, timed = await self._count_all(
            submitter, results_with(outcomes), results_by_submission(EVERYTHING, outcomes)
        )
        return found == timed

    async def may_expire(self, submitter: str) -> bool:
        """Return whether the earliest or the latest accepted sample expires."""
        for order in (Order("submitted_at"), NEWEST_FIRST):
            equal = {"state_on_arrival": Arrival.ACCEPTED.value}
            query = OrderedQuery(document_paths.SAMPLES, order, equal=equal, select=("submitted_at", "expire_at"))
            sample = await self._query(submitter, query).first()
            if sample is not None and "expire_at" in sample.fields:
                return True
        return False

    async def _since_earliest(self, submitter: str, selection: Selection) -> Selection | None:
        """Return the selection since its earliest accepted sample, or None if it contains no sample."""
        earliest = await self._query(submitter, _accepted(selection)).first()
        if earliest is None:
            return None
        since = Bound("submitted_at", ">=", encoding.field_time(earliest, "submitted_at"))
        return replace(selection, bounds=[*selection.bounds, since])

    async def _have_later_samples_expired(self, submitter: str) -> bool:
        """Return whether results are kept of samples that have expired before earlier samples. Remember this."""
        if (since := await self._since_earliest(submitter, EVERYTHING)) is None:
            return False
        recent = await self._recent(EVERYTHING)
        accepted, found, recent_accepted, recent_found = await self._count_all(
            submitter,
            _accepted(EVERYTHING),
            results_by_submission(since),
            _accepted(recent),
            results_by_submission(recent),
        )
        self._expired[submitter] = has_expired = accepted - found < recent_accepted - recent_found
        return has_expired

    async def _count_existing(self, submitter: str, state: SampleState, selection: Selection) -> int | None:
        """Return the number of existing samples in a state, or None if counts of documents do not show it.

        The counted results include those of samples that have expired.
        """
        recent = await self._recent(selection)
        accepted, recent_accepted, recent_found = await self._count_all(
            submitter, _accepted(selection), _accepted(recent), results_by_submission(recent)
        )
        pending = max(0, recent_accepted - recent_found)
        if state is SampleState.PENDING:
            return pending
        outcomes = RARE_OUTCOMES if state is SampleState.COMPUTED else (Status(state.value),)
        (results,) = await self._count_all(submitter, results_by_submission(Selection(selection.bounds), outcomes))
        if results > accepted or not await self.are_timed(submitter, outcomes):
            return None
        queries = [rare_outcomes(self._firestore, submitter, self._shards, each, selection) for each in outcomes]
        found = sum(await asyncio.gather(*(query.count() for query in queries)))
        return accepted - pending - found if state is SampleState.COMPUTED else found

    async def _recent(self, selection: Selection) -> Selection:
        """Return the selection since a full hour."""
        started = (await self._firestore.now() - _RECENT).replace(minute=0, second=0, microsecond=0)
        return replace(selection, bounds=[*selection.bounds, Bound("submitted_at", ">=", started)])

    async def _count_all(self, submitter: str, *queries: OrderedQuery) -> list[int]:
        """Return the counts of queries at one read time."""
        read_time = await self._firestore.now()
        return await asyncio.gather(*(self._query(submitter, query).count(read_time) for query in queries))

    def _query(self, submitter: str, query: OrderedQuery) -> ShardedQuery:
        return ShardedQuery(self._firestore, submitter, self._shards, query)


def _accepted(selection: Selection) -> OrderedQuery:
    """Return a query of the selected accepted samples, the earliest submission first."""
    equal = {"state_on_arrival": Arrival.ACCEPTED.value}
    return OrderedQuery(
        document_paths.SAMPLES, Order("submitted_at"), equal=equal, selection=selection, select=("shard",)
    )
