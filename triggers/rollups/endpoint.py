"""`POST /rollups`: moves expired results into the hourly archive, and builds the rollups.

The caller is Cloud Scheduler, or the schedule in the stack file on one machine.
"""

import asyncio
import logging
import time
from collections import deque
from random import randrange

from prometheus_client import Counter
from starlette.exceptions import HTTPException

from storage.documents import Unavailable, document_paths
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError, PreconditionFailed
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
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

_RUNS = Counter(
    "dropzone_rollup_runs",
    "Runs that build rollups and move expired results into the hourly archive, by outcome: `finished`, `unfinished` "
    "(the next run continues) or `failed`.",
    ["outcome"],
)
# Prometheus sees no increase in a counter whose first value is 1. All outcomes therefore start at 0.
_FINISHED, _UNFINISHED, _FAILED = map(_RUNS.labels, ("finished", "unfinished", "failed"))


class RollupsEndpoint:
    """Builds the rollups and the hourly archive of all submitters in the Firestore that the environment selects."""

    def __init__(self, *, shards: int, min_results: int = MIN_RESULTS) -> None:
        self._shards = shards
        self._min_results = min_results
        self._running = asyncio.Lock()
        self._connection: tuple[Firestore, GroupCommitWriter] | None = None

    async def run(self, _: bytes) -> dict[str, object]:
        """Work until everything is done or the time of the run is over. Return the report.

        Raises `HTTPException` if Firestore does not respond, or if the work for a submitter failed. The work for the
        other submitters is then done.
        """
        if self._running.locked():
            return {"running": True}
        async with self._running:
            outcome = _FAILED
            try:
                run = await self._run()
                if run.failures:
                    raise HTTPException(503, f"the rollups continue at the next call: {'; '.join(run.failures)}")
                outcome = _FINISHED if run.report.is_finished else _UNFINISHED
            except (Unavailable, FirestoreError) as error:
                raise HTTPException(503, f"the rollups continue at the next call: {error}") from error
            finally:
                outcome.inc()
        return run.report.values()

    async def _run(self) -> "_Run":
        if self._connection is None:  # the channel belongs to the running event loop
            firestore = Firestore.connect(timeout_seconds=TIMEOUT_SECONDS)
            self._connection = firestore, GroupCommitWriter(firestore, timeout_seconds=TIMEOUT_SECONDS)
        firestore, writer = self._connection
        run = _Run(firestore, writer, shards=self._shards, min_results=self._min_results)
        submitters = deque(await firestore.document_ids(document_paths.SUBMITTERS))
        if submitters:  # the last ones may get no time, and a new process knows no earlier run
            submitters.rotate(-randrange(len(submitters)))
        await run.serve(submitters)
        return run


class _Run:
    """One run for all submitters: its report, and the failures of submitters."""

    def __init__(self, firestore: Firestore, writer: GroupCommitWriter, *, shards: int, min_results: int) -> None:
        self.report = Report()
        self.failures: list[str] = []
        self._firestore = firestore
        self._writer = writer
        self._shards = shards
        self._min_results = min_results
        self._deadline = time.monotonic() + MAX_RUN_SECONDS
        self._archived: set[str] = set()

    async def serve(self, waiting: deque[str]) -> None:
        """Work for each submitter in turn, until everything is done or the time of the run is over."""
        while waiting:
            if time.monotonic() >= self._deadline:
                self.report.is_finished = False
                break
            submitter = waiting.popleft()
            if await self._serve(submitter, others=len(waiting)):
                waiting.append(submitter)

    async def _serve(self, submitter: str, others: int) -> bool:
        """Work for one submitter. Return whether its part of the time was too short."""
        try:
            if submitter not in self._archived:
                self._archived.add(submitter)
                await self._archive(submitter)
            return await self._build(submitter, others)
        except PreconditionFailed:
            self.report.is_finished = False
            logger.info("rollups of %s: another instance builds them", submitter)
        except (Unavailable, FirestoreError) as error:
            self.failures.append(f"{submitter}: {error}")
        except Exception:  # for example a document with damaged fields
            logger.exception("rollups of %s failed", submitter)
            self.failures.append(f"{submitter}: internal error, see the log")
        return False

    async def _archive(self, submitter: str) -> None:
        """Move the expired results of a submitter, before its rollups are compared with the remaining results."""
        deadline = min(self._deadline, time.monotonic() + MAX_ARCHIVE_SECONDS)
        archiver = Archiver(self._firestore, submitter, shards=self._shards, deadline=deadline)
        await archiver.run()
        self.report.archived += archiver.moved
        self.report.is_finished = self.report.is_finished and archiver.is_finished

    async def _build(self, submitter: str, others: int) -> bool:
        """Build rollups of a submitter for its part of the remaining time. Return whether its part was too short."""
        started = time.monotonic()
        ends = min(self._deadline, started + max(MIN_SUBMITTER_SECONDS, (self._deadline - started) / (others + 1)))
        builder = RollupBuilder(
            self._firestore,
            self._writer,
            submitter,
            shards=self._shards,
            deadline=ends,
            min_results=self._min_results,
        )
        built = Report()
        await builder.run(built)
        is_stopped = not built.is_finished and ends <= time.monotonic() < self._deadline
        self.report.results += built.results
        self.report.hours += built.hours
        self.report.is_finished = self.report.is_finished and (built.is_finished or is_stopped)
        return is_stopped
