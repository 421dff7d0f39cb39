"""Runs jobs while the API serves other requests, at most one of a kind per submitter.

A job continues after its request has ended, and stores its progress in a record. If the process stops, the record does
not change any more, and the job counts as INTERRUPTED. It can then be started again.
"""

import asyncio
import contextlib
import logging
import time
from abc import abstractmethod
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

from graphql_api.results.jobs.job_records import JobRecords, JobT
from storage.documents import RateLimited, RetryLater
from storage.firestore.messages import Write

logger = logging.getLogger("graphql_api")

StateT = TypeVar("StateT")

_RECORD_INTERVAL_SECONDS = 5.0
"""How often a job stores its progress while one of its steps takes longer."""


class JobRun(Generic[JobT, StateT]):
    """One job while it runs, with the record of its progress."""

    def __init__(self, records: JobRecords[JobT], submitter: str, started: JobT) -> None:
        self.id = started.id
        self.submitter = submitter
        self.current = started
        """The progress. Its class is a dataclass."""
        self._records = records
        self._recorded_at = time.monotonic()

    @abstractmethod
    async def work(self) -> StateT:
        """Do the work. Return the final state."""

    async def record(self, state: StateT | None = None, *entries: Write) -> None:
        """Store the progress, with entries of the audit log. If `state` is set, change the state of the job."""
        if state is not None:
            progress: Any = self.current
            self.current = replace(progress, state=state)
        self._recorded_at = time.monotonic()
        await self._records.write(self.submitter, self.current, *entries)

    async def record_if_due(self) -> None:
        """Store the progress if it was not stored for a few seconds. Call this during long steps."""
        if time.monotonic() - self._recorded_at > _RECORD_INTERVAL_SECONDS:
            await self.record()


class JobRunner(Generic[StateT]):
    """Runs jobs of one kind. `noun` is the name of the kind. Belongs to one event loop."""

    def __init__(self, noun: str, interrupted: StateT) -> None:
        self._noun = noun
        self._interrupted = interrupted
        self._running: dict[str, asyncio.Task[None]] = {}
        self._starting: set[str] = set()
        """The submitters whose job is being stored. A slow write of one submitter does not delay the others."""

    async def close(self) -> None:
        """Stop. Store all running jobs as INTERRUPTED."""
        tasks = [*self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def start(self, submitter: str, run: JobRun[Any, StateT], entry: Write) -> None:
        """Store the record of a job with an entry of the audit log, and start the job.

        Raises `RateLimited` if another job of this submitter is running or starting.
        """
        if submitter in self._running or submitter in self._starting:
            raise RateLimited(f"another {self._noun} of this submitter is running; retry when it has ended")
        self._starting.add(submitter)
        try:
            await run.record(None, entry)
            task = self._running[submitter] = asyncio.create_task(self._run(submitter, run))
            task.add_done_callback(lambda _: self._running.pop(submitter))
        finally:
            self._starting.remove(submitter)

    async def _run(self, submitter: str, run: JobRun[Any, StateT]) -> None:
        state = self._interrupted
        try:
            state = await run.work()
        except RetryLater as error:  # for example, Firestore is unavailable
            logger.warning("%s %s of submitter %s is interrupted: %s", self._noun, run.id, submitter, error)
        except Exception:
            logger.exception("%s %s of submitter %s failed", self._noun, run.id, submitter)
        finally:
            with contextlib.suppress(Exception):  # without an update for 30 seconds, the job counts as INTERRUPTED
                await asyncio.shield(run.record(state))


async def batches_of(ids: Sequence[str], size: int) -> AsyncGenerator[Sequence[str], None]:
    """Yield `ids` in batches of up to `size`."""
    for start in range(0, len(ids), size):
        yield ids[start : start + size]
