"""Recompute outdated results by writing their samples again, which triggers the function.

A recomputation without ids and filter includes PENDING samples. Their events may be lost, or may have failed too often.

The function replaces a result if its sample has a newer update time. Until then, clients read the outdated result. The
recomputation changes no other data of samples and results, so it can be repeated safely.

A recomputation writes one batch of samples and waits for their results before the next batch. It therefore never
exceeds the rate of the function. After an interruption, a new recomputation continues with the results that are still
outdated. A sample that cannot be computed keeps its outdated result, so each recomputation tries it again. Such samples
share batches with others, and PENDING samples are recomputed before outdated results.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from functools import partial
from uuid import uuid4

from graphql_api.results.filters import Selection
from graphql_api.results.jobs.job_records import MakeEntry
from graphql_api.results.jobs.job_runner import JobRun, JobRunner, batches_of
from graphql_api.results.recomputation.recomputation import Recomputation, RecomputationState
from graphql_api.results.recomputation.recomputation_store import RecomputationStore
from graphql_api.results.store import Store
from runtime.shared_tasks import SharedTasks
from storage.documents import STATISTICS_VERSION, Arrival, NotFound
from storage.firestore.retry import backoff

MAX_IDS = 1_000
_BATCH_SIZE = 200
_MAX_IDLE_SECONDS = 60.0
"""How long a batch waits for its next result. Results that are still missing can arrive later."""
_MAX_BATCHES_WITHOUT_RESULT = 3
"""After this number of full batches in a row, a recomputation ends: the function does not run."""
_MAX_COLLECTING_SECONDS = 5.0
"""How long the first samples of a batch wait for others, if a scan finds few."""
_MIN_PENDING_TIME = timedelta(seconds=30)
"""A newer PENDING sample is not recomputed, because its event may not have been processed yet."""
_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 0.05, 1.0
_WATCH_INTERVAL_SECONDS = 0.5


class Recomputer:
    """Runs at most one recomputation per submitter at a time. Belongs to one event loop."""

    def __init__(self, store: Store, records: RecomputationStore) -> None:
        self._store = store
        self._records = records
        self._runner = JobRunner("recomputation", RecomputationState.INTERRUPTED)
        self._later_reads = SharedTasks[tuple[str, str], Recomputation | None]()
        """The next reads of recomputations that are watched. A recomputation can have thousands of watchers."""

    async def close(self) -> None:
        """Stop. Store all running recomputations as INTERRUPTED."""
        await self._later_reads.cancel()
        await self._runner.close()

    async def recompute_ids(self, submitter: str, ids: Sequence[str], make_entry: MakeEntry) -> Recomputation:
        """Start a recomputation of the samples `ids`. The samples need not have results.

        Raises `NotFound` if one of the samples does not exist or was REJECTED. Raises `RateLimited` if another
        recomputation of this submitter is running.
        """
        headers = await self._store.headers(submitter, ids)
        for index, sample_id in enumerate(ids):
            if sample_id not in headers or headers[sample_id].arrival is Arrival.REJECTED:
                raise NotFound(f"no accepted sample has this id - at `ids[{index}]`")
        return await self._start(submitter, batches_of(list(dict.fromkeys(ids)), _BATCH_SIZE), make_entry)

    async def recompute_outdated(self, submitter: str, selection: Selection, make_entry: MakeEntry) -> Recomputation:
        """Start a recomputation of the selected outdated results. If all are selected, include PENDING samples.

        Raises `RateLimited` if another recomputation of this submitter is running.
        """
        outdated = self._store.result_listing.outdated_ids(submitter, STATISTICS_VERSION, selection, _BATCH_SIZE)
        if not selection.is_everything:
            return await self._start(submitter, outdated, make_entry)
        before = await self._records.now() - _MIN_PENDING_TIME
        pending = self._store.sample_listing.pending_ids(submitter, before, _BATCH_SIZE)
        return await self._start(submitter, _chain(pending, outdated), make_entry)

    async def get(self, submitter: str, recomputation_id: str) -> Recomputation | None:
        """Return the progress of a recomputation, or None if it does not exist."""
        return await self._records.read(submitter, recomputation_id)

    async def watch(self, submitter: str, recomputation_id: str) -> AsyncGenerator[Recomputation, None]:
        """Yield the progress after every change, until the state is no longer RUNNING. Raises `NotFound`."""
        watched = submitter, recomputation_id
        last, current = None, await self.get(*watched)
        while True:
            if current is None:
                raise NotFound("no recomputation has this id")
            if current != last:
                last = current
                yield current
            if current.state is not RecomputationState.RUNNING:
                return
            current = await self._later_reads.run(watched, partial(self._read_later, *watched))

    async def _read_later(self, submitter: str, recomputation_id: str) -> Recomputation | None:
        await asyncio.sleep(_WATCH_INTERVAL_SECONDS)
        return await self.get(submitter, recomputation_id)

    async def _start(
        self, submitter: str, batches: AsyncGenerator[Sequence[str], None], make_entry: MakeEntry
    ) -> Recomputation:
        now = await self._records.now()
        started = Recomputation(
            id=str(uuid4()), state=RecomputationState.RUNNING, requested=0, done=0, started_at=now, updated_at=now
        )
        run = _Run(self._records, submitter, started, batches)
        await self._runner.start(submitter, run, make_entry(started.id))
        return started


class _Run(JobRun[Recomputation, RecomputationState]):
    """One recomputation while it runs."""

    def __init__(
        self,
        records: RecomputationStore,
        submitter: str,
        started: Recomputation,
        batches: AsyncGenerator[Sequence[str], None],
    ) -> None:
        super().__init__(records, submitter, started)
        self._store = records
        self._batches = batches

    async def work(self) -> RecomputationState:
        """Recompute batch by batch."""
        without_result = 0
        async with aclosing(_full_batches(self._batches)) as batches:
            async for ids in batches:
                if ids and await self._recompute(ids):
                    without_result = 0
                elif len(ids) == _BATCH_SIZE:
                    without_result += 1
                if without_result == _MAX_BATCHES_WITHOUT_RESULT:
                    break
                await self.record_if_due()
        is_complete = self.current.done == self.current.requested
        return RecomputationState.FINISHED if is_complete else RecomputationState.INCOMPLETE

    async def _recompute(self, ids: Sequence[str]) -> bool:
        """Write a batch of samples again and wait for their results. Return False if no result arrived."""
        triggered_at = await self._store.trigger_again(self.submitter, ids)
        self.current = replace(self.current, requested=self.current.requested + len(triggered_at))
        await self.record()
        missing = dict(triggered_at)
        last_progress = time.monotonic()
        pauses = backoff(_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS)
        while missing and time.monotonic() - last_progress < _MAX_IDLE_SECONDS:
            await asyncio.sleep(next(pauses))
            computed_from = await self._store.computed_from(self.submitter, missing)
            new = [sample_id for sample_id, update_time in computed_from.items() if update_time >= missing[sample_id]]
            for sample_id in new:
                del missing[sample_id]
            if new:
                last_progress = time.monotonic()
                pauses = backoff(_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS)
                self.current = replace(self.current, done=self.current.done + len(new))
            await self.record_if_due()
        await self.record()
        return len(missing) < len(triggered_at) or not triggered_at


async def _chain(*sources: AsyncGenerator[Sequence[str], None]) -> AsyncGenerator[Sequence[str], None]:
    for source in sources:
        async with aclosing(source) as batches:
            async for ids in batches:
                yield ids


async def _full_batches(source: AsyncGenerator[Sequence[str], None]) -> AsyncGenerator[Sequence[str], None]:
    """Combine small batches, for a few seconds. Yield an empty batch if the combined batch is not due yet."""
    collected: list[str] = []
    yielded_at = time.monotonic()
    async with aclosing(source) as batches:
        async for ids in batches:
            collected = [*dict.fromkeys([*collected, *ids])]  # a result that moves during the scan can occur twice
            if len(collected) < _BATCH_SIZE and time.monotonic() - yielded_at < _MAX_COLLECTING_SECONDS:
                yield []
                continue
            yield collected[:_BATCH_SIZE]
            del collected[:_BATCH_SIZE]
            yielded_at = time.monotonic()
    yield collected
