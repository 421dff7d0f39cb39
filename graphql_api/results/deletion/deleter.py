"""Delete samples in batches while the API serves other requests.

A deletion continues after its request has ended, and stores its progress in a record. If the process stops, the record
no longer changes and counts as INTERRUPTED. The same deletion can then be started again.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

from graphql_api.results.deletion.deletion import Deletion, DeletionState
from graphql_api.results.deletion.deletion_store import DeletionStore
from graphql_api.results.filters import Selection
from graphql_api.results.store import Store
from storage.documents import BadRequest, NotFound, RateLimited, SampleState, Tombstone
from storage.documents.tombstone import MAX_REASON_CHARACTERS

MAX_IDS = 1_000
_BATCH_SIZE = 100

logger = logging.getLogger("graphql_api")


class Deleter:
    """Runs at most one deletion per submitter at a time. Belongs to one event loop."""

    def __init__(self, store: Store, records: DeletionStore) -> None:
        self._store = store
        self._records = records
        self._running: dict[str, asyncio.Task[None]] = {}
        self._starting = asyncio.Lock()

    async def close(self) -> None:
        """Stop. Store all running deletions as INTERRUPTED."""
        tasks = [*self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def delete_one(self, submitter: str, sample_id: str, reason: str) -> None:
        """Delete a sample before this returns. Raises `NotFound` if it does not exist."""
        _check(reason)
        if not await self._records.delete(submitter, [sample_id], reason):
            raise NotFound("no sample has this id")

    async def delete_ids(self, submitter: str, ids: Sequence[str], reason: str) -> Deletion:
        """Start the deletion of the samples `ids`. Ids of samples that do not exist are skipped.

        Raises `RateLimited` if another deletion of this submitter is running.
        """
        return await self._start(submitter, _batches(list(dict.fromkeys(ids))), reason)

    async def delete_selected(
        self, submitter: str, state: SampleState | None, selection: Selection, reason: str
    ) -> Deletion:
        """Start the deletion of the selected samples that are in `state`.

        Raises `RateLimited` if another deletion of this submitter is running.
        """
        ids = self._store.sample_listing.ids(submitter, state, selection, _BATCH_SIZE)
        return await self._start(submitter, ids, reason)

    async def get(self, submitter: str, deletion_id: str) -> Deletion | None:
        """Return the progress of a deletion, or None if it does not exist."""
        return await self._records.read(submitter, deletion_id)

    async def tombstone(self, submitter: str, sample_id: str) -> Tombstone | None:
        """Return what remains of a deleted sample, or None if the sample is not deleted."""
        return await self._records.tombstone(submitter, sample_id)

    async def _start(self, submitter: str, batches: AsyncGenerator[Sequence[str], None], reason: str) -> Deletion:
        _check(reason)
        now = datetime.now(UTC)
        started = Deletion(str(uuid4()), DeletionState.RUNNING, 0, reason, now, now)
        async with self._starting:
            if submitter in self._running:
                raise RateLimited("another deletion of this submitter is running; retry when it has ended")
            await self._records.write(submitter, started)
            task = self._running[submitter] = asyncio.create_task(self._run(submitter, started, batches))
            task.add_done_callback(lambda _: self._running.pop(submitter))
        return started

    async def _run(self, submitter: str, current: Deletion, batches: AsyncGenerator[Sequence[str], None]) -> None:
        state = DeletionState.INTERRUPTED
        try:
            async with aclosing(batches):
                async for ids in batches:
                    deleted = current.deleted + await self._records.delete(submitter, ids, current.reason)
                    current = replace(current, deleted=deleted)
                    await self._records.write(submitter, current)
            state = DeletionState.FINISHED
        except Exception:
            logger.exception("deletion %s of submitter %s failed", current.id, submitter)
        finally:
            with contextlib.suppress(Exception):  # an unchanged record counts as INTERRUPTED after 30 seconds
                await asyncio.shield(self._records.write(submitter, replace(current, state=state)))


def _check(reason: str) -> None:
    if len(reason) > MAX_REASON_CHARACTERS:
        raise BadRequest(f"expected at most {MAX_REASON_CHARACTERS} characters, got {len(reason):,} - at `reason`")


async def _batches(ids: Sequence[str]) -> AsyncGenerator[Sequence[str], None]:
    for start in range(0, len(ids), _BATCH_SIZE):
        yield ids[start : start + _BATCH_SIZE]
