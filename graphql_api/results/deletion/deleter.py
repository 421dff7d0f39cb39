"""Delete samples in batches while the API serves other requests."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from functools import partial
from uuid import uuid4

from graphql_api.results.deletion.deletion import Deletion, DeletionState
from graphql_api.results.deletion.deletion_store import DeletionStore
from graphql_api.results.filters import Selection
from graphql_api.results.jobs.job_records import MakeEntry
from graphql_api.results.jobs.job_runner import JobRun, JobRunner, batches_of
from graphql_api.results.store import Store
from storage.documents import BadRequest, NotFound, SampleState, Tombstone, Unavailable
from storage.documents.tombstone import MAX_REASON_CHARACTERS
from storage.firestore.messages import Write

MAX_IDS = 1_000
_BATCH_SIZE = 100

Batches = AsyncGenerator[Sequence[str], None]
"""The ids of documents to delete."""
KeptResults = Callable[..., Batches]
"""Returns the ids of selected results whose samples have expired. The argument `until` is the latest submission."""


class Deleter:
    """Runs at most one deletion per submitter at a time. Belongs to one event loop."""

    def __init__(self, store: Store, records: DeletionStore) -> None:
        self._store = store
        self._records = records
        self._runner = JobRunner("deletion", DeletionState.INTERRUPTED)

    async def close(self) -> None:
        """Stop. Store all running deletions as INTERRUPTED."""
        await self._runner.close()

    async def delete_one(
        self, submitter: str, sample_id: str, reason: str, entry: Write, submitted_until: datetime | None = None
    ) -> None:
        """Delete a sample, and return after the deletion. If the sample exists, the audit log gets `entry`.

        A sample that was submitted after `submitted_until` is kept. By default, this is the time of the request.

        Raises `NotFound` if the sample does not exist, and `Unavailable` if it changed during every attempt.
        """
        _check(reason)
        deleted, remaining = await self._records.delete(
            submitter, [sample_id], reason, entry, submitted_until=submitted_until
        )
        if remaining:
            raise Unavailable("other requests changed the sample during every attempt; retry later")
        if not deleted:
            raise NotFound("the sample does not exist")

    async def delete_ids(self, submitter: str, ids: Sequence[str], reason: str, make_entry: MakeEntry) -> Deletion:
        """Start the deletion of the samples `ids`. Ids of samples that do not exist are skipped.

        Raises `RateLimited` if another deletion of this submitter is running.
        """
        batches = batches_of(list(dict.fromkeys(ids)), _BATCH_SIZE)
        return await self._start(submitter, batches, None, reason, make_entry)

    async def delete_selected(
        self, submitter: str, state: SampleState | None, selection: Selection, reason: str, make_entry: MakeEntry
    ) -> Deletion:
        """Start the deletion of the selected samples that are in `state`.

        Selected results in `state` whose sample has expired are deleted too.

        Raises `RateLimited` if another deletion of this submitter is running.
        """
        listing = self._store.sample_listing
        samples = listing.ids(submitter, state, selection, _BATCH_SIZE)
        kept = partial(listing.kept_result_ids, submitter, state, selection, batch_size=_BATCH_SIZE)
        return await self._start(submitter, samples, kept, reason, make_entry)

    async def get(self, submitter: str, deletion_id: str) -> Deletion | None:
        """Return the progress of a deletion, or None if it does not exist."""
        return await self._records.read(submitter, deletion_id)

    async def tombstone(self, submitter: str, sample_id: str) -> Tombstone | None:
        """Return what remains of a deleted sample, or None if the sample is not deleted."""
        return await self._records.tombstone(submitter, sample_id)

    async def _start(
        self, submitter: str, samples: Batches, kept_results: KeptResults | None, reason: str, make_entry: MakeEntry
    ) -> Deletion:
        _check(reason)
        now = await self._records.now()
        started = Deletion(str(uuid4()), DeletionState.RUNNING, 0, reason, now, now)
        run = _Run(self._records, submitter, started, samples, kept_results)
        await self._runner.start(submitter, run, make_entry(started.id))
        return started


class _Run(JobRun[Deletion, DeletionState]):
    """One deletion while it runs. It deletes `samples`, and then `kept_results`.

    Without `kept_results`, a kept result with the id of a sample is deleted together with the sample.
    """

    def __init__(
        self,
        records: DeletionStore,
        submitter: str,
        started: Deletion,
        samples: Batches,
        kept_results: KeptResults | None,
    ) -> None:
        super().__init__(records, submitter, started)
        self._store = records
        self._samples = samples
        self._kept_results = kept_results
        self._are_all_deleted = True

    async def work(self) -> DeletionState:
        """Delete batch by batch. Return INTERRUPTED if samples remain that changed before each attempt."""
        started_at = await self._store.now()  # while the samples are read, new samples get results
        delete = partial(
            self._store.delete,
            self.submitter,
            reason=self.current.reason,
            submitted_until=started_at,
            report=self.record_if_due,
        )
        if self._kept_results is None:
            await self._delete(self._samples, delete)
        else:
            await self._delete(self._samples, partial(delete, deletes_kept_results=False))
            await self._delete(self._kept_results(until=started_at), partial(delete, deletes_samples=False))
        return DeletionState.FINISHED if self._are_all_deleted else DeletionState.INTERRUPTED

    async def _delete(self, batches: Batches, delete: Callable[..., Awaitable[tuple[int, Collection[str]]]]) -> None:
        async with aclosing(batches):
            async for ids in batches:
                deleted, remaining = await delete(ids)
                self._are_all_deleted = self._are_all_deleted and not remaining
                self.current = replace(self.current, deleted=self.current.deleted + deleted)
                await self.record()


def _check(reason: str) -> None:
    if len(reason) > MAX_REASON_CHARACTERS:
        raise BadRequest(f"expected at most {MAX_REASON_CHARACTERS} characters, got {len(reason):,} - at `reason`")
