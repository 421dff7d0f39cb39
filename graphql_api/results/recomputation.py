"""Old results are brought up to date by the same path that made them: their samples are written again.

A touch of a sample's header is a write, a write is an event, and the function replaces a result whose sample
is newer. Until then the old result is there to read. Nothing else is written, so doing it twice is harmless.

The work goes on when who asked for it is gone, some samples at a time: the next ones follow when these have their
new results, so no more is ever on the way than the function can take. What was done is stored as it goes on. A
process that ends in the middle leaves a record that no longer changes: it counts as interrupted, and to ask again
is to go on, because what has been done is no longer old.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any
from uuid import uuid4

import strawberry

from graphql_api.results.filters import Bound
from graphql_api.results.store import Store
from storage.documents import STATISTICS_VERSION, Arrival, NotFound, RateLimited
from storage.documents.server_time import SERVER_TIME
from storage.firestore.client import backoff

MAX_IDS = 1_000
_AT_ONCE = 200
_PATIENCE_SECONDS = 60.0
"""How long no new result may come before those that are missing are left to come by themselves."""
_RECORD_SECONDS = 5.0
_INTERRUPTED_AFTER = timedelta(seconds=30)
_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 0.05, 1.0
_WATCH_SECONDS = 0.5

logger = logging.getLogger("graphql_api")


@strawberry.enum(description="How far a recomputation is.")
class RecomputationState(Enum):
    """RUNNING, then one of the others."""

    RUNNING = strawberry.enum_value("RUNNING", description="Samples are sent to the function again.")
    FINISHED = strawberry.enum_value("FINISHED", description="Every result that was asked for is new.")
    INCOMPLETE = strawberry.enum_value(
        "INCOMPLETE",
        description="The function has not given all results in time. They may still come; to ask again is to go on.",
    )
    INTERRUPTED = strawberry.enum_value(
        "INTERRUPTED", description="The process that worked on it, or Firestore, went away. To ask again is to go on."
    )


@strawberry.type(description="Old results being brought up to the current version of the statistics.")
class Recomputation:
    """What is stored of it, and shown."""

    id: strawberry.ID = strawberry.field(description="Its id, to ask how far it is.")
    state: RecomputationState = strawberry.field(description="How far it is.")
    requested: int = strawberry.field(description="How many samples were sent to the function again so far.")
    done: int = strawberry.field(description="How many of them have their new result.")
    started_at: datetime = strawberry.field(description="When it was asked for.")
    updated_at: datetime = strawberry.field(description="When this was last true.")

    def fields(self) -> dict[str, object]:
        """Return it as it is stored."""
        return {
            "state": self.state.name,
            "requested": self.requested,
            "done": self.done,
            "started_at": self.started_at,
            "updated_at": SERVER_TIME,
        }

    @classmethod
    def from_fields(cls, recomputation_id: str, fields: Mapping[str, object]) -> "Recomputation":
        """Read back what `fields` gave; what is said to run but has not been heard of was interrupted."""
        started_at, updated_at = fields["started_at"], fields["updated_at"]
        if not (isinstance(started_at, datetime) and isinstance(updated_at, datetime)):
            raise TypeError("a stored recomputation has no times")
        state = RecomputationState[str(fields["state"])]
        if state is RecomputationState.RUNNING and datetime.now(UTC) - updated_at > _INTERRUPTED_AFTER:
            state = RecomputationState.INTERRUPTED
        return cls(
            id=strawberry.ID(recomputation_id),
            state=state,
            requested=int(str(fields["requested"])),
            done=int(str(fields["done"])),
            started_at=started_at,
            updated_at=updated_at,
        )


class Recomputer:
    """Brings results up to date, one recomputation of a submitter at a time. Used by one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._running: dict[str, asyncio.Task[None]] = {}
        self._beginning = asyncio.Lock()

    async def close(self) -> None:
        """Stop; what was running says that it was interrupted."""
        tasks = [*self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def of_ids(self, submitter: str, ids: Sequence[str]) -> Recomputation:
        """Begin with these samples, whatever results they have. Raises `NotFound` where one is none of ours."""
        headers = await self._store.headers(submitter, ids)
        for number, sample_id in enumerate(ids):
            if sample_id not in headers or headers[sample_id].arrival is Arrival.REJECTED:
                raise NotFound(f"there is no such sample, or it was REJECTED - at `ids[{number}]`")
        unique = list(dict.fromkeys(ids))
        return await self._begin(submitter, _cut(unique))

    async def of_old(self, submitter: str, bounds: Sequence[Bound]) -> Recomputation:
        """Begin with the old results that are within `bounds`."""
        return await self._begin(submitter, self._store.lists.outdated(submitter, STATISTICS_VERSION, bounds, _AT_ONCE))

    async def get(self, submitter: str, recomputation_id: str) -> Recomputation | None:
        """Return how far a recomputation is."""
        stored = await self._store.recomputation(submitter, recomputation_id)
        return None if stored is None else Recomputation.from_fields(recomputation_id, stored)

    async def watch(self, submitter: str, recomputation_id: str) -> AsyncGenerator[Recomputation, None]:
        """Yield it whenever it has changed, until it no longer runs. Raises `NotFound`."""
        shown: Recomputation | None = None
        while shown is None or shown.state is RecomputationState.RUNNING:
            current = await self.get(submitter, recomputation_id)
            if current is None:
                raise NotFound("there is no such recomputation")
            if current != shown:
                shown = current
                yield current
            else:
                await asyncio.sleep(_WATCH_SECONDS)

    async def _begin(self, submitter: str, batches: AsyncGenerator[Sequence[str], None]) -> Recomputation:
        now = datetime.now(UTC)
        begun = Recomputation(
            id=strawberry.ID(str(uuid4())),
            state=RecomputationState.RUNNING,
            requested=0,
            done=0,
            started_at=now,
            updated_at=now,
        )
        work = _Work(self._store, submitter, begun)
        async with self._beginning:
            if submitter in self._running:
                raise RateLimited("another recomputation is running; ask again when it has come to an end")
            await work.record()
            task = self._running[submitter] = asyncio.create_task(work.run(batches))
            task.add_done_callback(lambda _: self._running.pop(submitter))
        return begun


class _Work:
    def __init__(self, store: Store, submitter: str, begun: Recomputation) -> None:
        self._store = store
        self._submitter = submitter
        self._now = begun
        self._recorded = time.monotonic()

    async def record(self, **changes: Any) -> None:
        self._now = replace(self._now, **changes)
        self._recorded = time.monotonic()
        await self._store.put_recomputation(self._submitter, self._now.id, self._now.fields())

    async def run(self, batches: AsyncGenerator[Sequence[str], None]) -> None:
        state = RecomputationState.INTERRUPTED
        try:
            async with aclosing(batches):
                async for ids in batches:
                    if ids and not await self._batch(ids):
                        break
                    if time.monotonic() - self._recorded > _RECORD_SECONDS:
                        await self.record()
            complete = self._now.done == self._now.requested
            state = RecomputationState.FINISHED if complete else RecomputationState.INCOMPLETE
        except Exception:
            logger.exception("recomputation %s of %s ended early", self._now.id, self._submitter)
        finally:
            with contextlib.suppress(Exception):  # a record that stays as it is says the same after a while
                await asyncio.shield(self.record(state=state))

    async def _batch(self, ids: Sequence[str]) -> bool:
        """Touch some samples and wait for their results; return False where none comes."""
        touched = await self._store.touch(self._submitter, ids)
        await self.record(requested=self._now.requested + len(touched))
        waiting = dict(touched)
        progress = time.monotonic()
        pauses = backoff(_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS)
        while waiting and time.monotonic() - progress < _PATIENCE_SECONDS:
            await asyncio.sleep(next(pauses))
            computed_from = await self._store.computed_from(self._submitter, waiting)
            new = [each for each, moment in computed_from.items() if moment >= waiting[each]]
            for sample_id in new:
                del waiting[sample_id]
            if new:
                progress = time.monotonic()
                pauses = backoff(_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS)
                self._now = replace(self._now, done=self._now.done + len(new))
            if time.monotonic() - self._recorded > _RECORD_SECONDS:
                await self.record()
        await self.record()
        return len(waiting) < len(touched) or not touched


async def _cut(ids: Sequence[str]) -> AsyncGenerator[Sequence[str], None]:
    for start in range(0, len(ids), _AT_ONCE):
        yield ids[start : start + _AT_ONCE]
