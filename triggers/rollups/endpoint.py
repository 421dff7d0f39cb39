"""`POST /rollups`: moves expired results into the hourly archive, and builds the rollups.

The caller is Cloud Scheduler, or the schedule in the stack file on one machine.
"""

import asyncio
import logging
import time
from collections import deque

from starlette.exceptions import HTTPException

from storage.documents import Unavailable, document_paths
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError, PreconditionFailed
from storage.firestore.group_commit_writer import GroupCommitWriter
from triggers.hourly_archive.archiver import Archiver
from triggers.rollups.report import Report
from triggers.rollups.rollup_builder import MIN_RESULTS, RollupBuilder

TIMEOUT_SECONDS = 30.0
MAX_RUN_SECONDS = 180.0
"""A run ends after this time, when its current step is done. Schedulers wait for 300 s. The next run does the rest."""
MIN_SUBMITTER_SECONDS = 5.0
"""A submitter with much work gets this time, or more if few submitters follow in the run."""
MAX_ARCHIVE_SECONDS = 20.0
"""The maximum time of a run for the archive of one submitter. With a long backlog, rollups would otherwise wait."""

logger = logging.getLogger("triggers")


class RollupsEndpoint:
    """Keeps the hourly statistics of all submitters in the Firestore that the environment selects."""

    def __init__(self, *, shards: int, min_results: int = MIN_RESULTS) -> None:
        self._shards = shards
        self._min_results = min_results
        self._running = asyncio.Lock()
        self._next = 0
        self._connection: tuple[Firestore, GroupCommitWriter] | None = None

    async def run(self, _: bytes) -> dict[str, object]:
        """Work until everything is done or the time of the run is over. Return the report.

        Raises `HTTPException` if Firestore does not respond, or if the work for a submitter failed. The work for the
        other submitters is then done.
        """
        if self._running.locked():
            return {"running": True}
        async with self._running:
            try:
                report, failures = await self._run()
            except (Unavailable, FirestoreError) as error:
                raise HTTPException(503, f"the rollups continue at the next call: {error}") from error
        if failures:
            raise HTTPException(503, f"the rollups continue at the next call: {'; '.join(failures)}")
        return report.values()

    async def _run(self) -> tuple[Report, list[str]]:
        """Return the report of the run and the failures."""
        if self._connection is None:  # the channel belongs to the running event loop
            firestore = Firestore.connect(timeout_seconds=TIMEOUT_SECONDS)
            self._connection = firestore, GroupCommitWriter(firestore, timeout_seconds=TIMEOUT_SECONDS)
        firestore, writer = self._connection
        report = Report()
        deadline = time.monotonic() + MAX_RUN_SECONDS
        submitters = await firestore.document_ids(document_paths.SUBMITTERS)
        waiting = deque(submitters)
        if submitters:
            waiting.rotate(-(self._next % len(submitters)))  # each submitter is the first one in turn
        self._next += 1
        archived: set[str] = set()
        failures = []
        while waiting:
            if time.monotonic() >= deadline:
                report.is_finished = False
                break
            submitter = waiting.popleft()
            try:
                if submitter not in archived:
                    archived.add(submitter)
                    await self._archive(firestore, submitter, report, deadline)
                if await self._build(firestore, writer, submitter, report, deadline, len(waiting)):
                    waiting.append(submitter)
            except PreconditionFailed:
                report.is_finished = False
                logger.info("rollups of %s: another instance builds them", submitter)
            except (Unavailable, FirestoreError) as error:
                failures.append(f"{submitter}: {error}")
            except Exception:  # for example a document with damaged fields
                logger.exception("rollups of %s failed", submitter)
                failures.append(f"{submitter}: internal error, see the log")
        return report, failures

    async def _build(
        self,
        firestore: Firestore,
        writer: GroupCommitWriter,
        submitter: str,
        report: Report,
        deadline: float,
        others: int,
    ) -> bool:
        """Build rollups of a submitter for its part of the remaining time. Return whether its part was too short."""
        started = time.monotonic()
        ends = min(deadline, started + max(MIN_SUBMITTER_SECONDS, (deadline - started) / (others + 1)))
        builder = RollupBuilder(
            firestore, writer, submitter, shards=self._shards, deadline=ends, min_results=self._min_results
        )
        built = Report()
        await builder.run(built)
        is_stopped = not built.is_finished and ends <= time.monotonic() < deadline
        report.results += built.results
        report.hours += built.hours
        report.is_finished = report.is_finished and (built.is_finished or is_stopped)
        return is_stopped

    async def _archive(self, firestore: Firestore, submitter: str, report: Report, deadline: float) -> None:
        """Move the expired results of a submitter, before its rollups are compared with the remaining results."""
        deadline = min(deadline, time.monotonic() + MAX_ARCHIVE_SECONDS)
        archiver = Archiver(firestore, submitter, shards=self._shards, deadline=deadline)
        await archiver.run()
        report.archived += archiver.moved
        report.is_finished = report.is_finished and archiver.is_finished
