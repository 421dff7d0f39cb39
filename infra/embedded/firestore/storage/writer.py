"""The writer: one thread that commits all waiting jobs as one group.

Jobs that are submitted during a commit join the next group, so that one fsync serves many requests. A job may raise
`StatusError` only before it changes anything. If a job raises another error, the writer rolls back the group and
commits each job separately, so that only the faulty job fails.

`submit` returns only after the commit is on disk.

If the disk is full or fails, or if the data file was moved, commits fail until this is repaired. During this time, the
writer tests the disk every DISK_TEST_SECONDS. It therefore does not need a request to detect that the disk works again.
"""

import asyncio
import contextlib
import copy
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from infra.embedded.firestore import metrics
from infra.embedded.firestore.errors import StatusError, disk_failure, is_damage, unavailable
from infra.embedded.firestore.indexes.entry_merges import EntryMerges
from infra.embedded.firestore.indexes.entry_tables import EntryTables
from infra.embedded.firestore.storage.checkpoints import AutomaticCheckpoints
from infra.embedded.firestore.storage.clock import Clock
from infra.embedded.firestore.storage.commit_group import CommitGroup
from infra.embedded.firestore.storage.disk_health import DISK_TEST, DiskHealth
from infra.embedded.firestore.storage.readers import release_page_cache
from infra.embedded.firestore.storage.versions import Change

T = TypeVar("T")
MAX_GROUP_SIZE = 2_000
GATHER_SECONDS = 0.001
"""The time to wait for more jobs if the previous group had more than one job."""
DISK_TEST_SECONDS = 0.5
CANNOT_WRITE = "The server cannot write any more and must restart."

logger = logging.getLogger(__name__)


class WriterEnded(Exception):
    """The writer's thread has stopped because of a bug. The process must exit, so that its supervisor restarts it."""


@dataclass(slots=True)
class _Job:
    work: Callable[[CommitGroup], Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None
    """Without a traceback, which would keep the whole group in memory until a garbage collection."""


class Writer:
    """Runs submitted jobs in the order of submission.

    `begin_group` returns the next group. `diagnose` returns the error to report for an error of SQLite. Before a commit
    of changes, the writer's thread calls `check_file`, which raises `FileMoved` if the file was moved. It calls
    `record_commit` with the sequence of each group that has changed documents, and `on_rollback` after each rollback.
    The event loop calls `on_commit` after each group.

    If an exception stops the writer's thread, `failed` gets this exception. No later write can then succeed.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        begin_group: Callable[[EntryTables], CommitGroup],
        clock: Clock,
        health: DiskHealth,
        checkpoints: AutomaticCheckpoints,
        *,
        diagnose: Callable[[Exception], Exception],
        check_file: Callable[[], None],
        record_commit: Callable[[int], None],
        on_commit: Callable[[list[Change]], None],
        on_rollback: Callable[[sqlite3.Connection], None],
    ) -> None:
        self._connection = connection
        self._begin_group = begin_group
        self._clock = clock
        self._health = health
        self._checkpoints = checkpoints
        self._diagnose = diagnose
        self._check_file = check_file
        self._record_commit = record_commit
        self._on_commit = on_commit
        self._on_rollback = on_rollback
        self._merges = EntryMerges(connection)
        self._must_reload = False
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._is_closed = False
        self.failed: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="firestore-writer")
        self._thread.start()

    async def submit(self, work: Callable[[CommitGroup], T]) -> T:
        """Run `work` in the next group and return its result after the commit."""
        if self._is_closed:
            raise unavailable("The server is shutting down.")
        if self.failed.done():
            raise unavailable(CANNOT_WRITE)
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Job(work, future))
        try:
            return await future
        finally:
            del future, work  # the traceback of an error refers to them

    async def close(self) -> None:
        """Commit all submitted jobs, then stop."""
        if not self._is_closed:
            self._is_closed = True
            self._queue.put(None)
        await self._loop.run_in_executor(None, self._thread.join)
        # Now all groups are published. The next step can take long.
        await self._loop.run_in_executor(None, self._checkpoints.finish)
        await self._loop.run_in_executor(None, self._connection.close)

    def _run(self) -> None:
        jobs: list[_Job] = []
        try:
            stopping = False
            previous_size = 0
            while not stopping:
                jobs, stopping = self._next_group(waits_for_more=previous_size > 1)
                previous_size = len(jobs)
                if jobs:
                    self._commit(jobs)
        except BaseException as error:
            logger.exception("The writer's thread stopped")
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._fail, error, jobs)

    def _fail(self, error: BaseException, jobs: list[_Job]) -> None:
        """Report the end of the thread, and refuse the jobs that have no outcome and all later jobs."""
        self.failed.set_exception(WriterEnded(f"the writer's thread stopped, so this server cannot write: {error!r}"))
        self.failed.exception()  # the owner of the storage may close it without looking at `failed`
        while not self._queue.empty():
            job = self._queue.get()
            jobs = jobs if job is None else [*jobs, job]
        for job in jobs:
            if not job.future.done():
                job.future.set_exception(unavailable(CANNOT_WRITE))

    def _next_group(self, *, waits_for_more: bool) -> tuple[list[_Job], bool]:
        """Return all waiting jobs, and whether the writer must stop after these jobs. Wait for at least one job.

        If `waits_for_more` is true, wait `GATHER_SECONDS` longer, so that more jobs share the commit.
        """
        jobs: list[_Job] = []
        job = self._wait_for_job()
        if waits_for_more:
            time.sleep(GATHER_SECONDS)
        while job is not None:
            jobs.append(job)
            if len(jobs) == MAX_GROUP_SIZE:
                break
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                break
        return jobs, job is None

    def _wait_for_job(self) -> _Job | None:
        """Wait for a job. While the disk fails, test the disk regularly. Return None if the writer must stop."""
        while self._health.problem is not None:
            try:
                return self._queue.get(timeout=DISK_TEST_SECONDS)
            except queue.Empty:
                self._test_disk()
        return self._queue.get()

    def _test_disk(self) -> None:
        """Commit as much data as a large write, and remove this data again."""
        try:
            for statement in DISK_TEST:
                self._attempt([_Job(partial(_execute, statement), self._loop.create_future())])
        except sqlite3.Error as error:
            self._health.report_failure(error, 0)

    def _commit(self, jobs: list[_Job]) -> None:
        started_at = time.perf_counter()
        changes: list[Change] = []
        is_faulty = False
        try:
            changes = self._attempt_again(jobs)
            metrics.COMMIT_DURATION.observe(time.perf_counter() - started_at)
            metrics.COMMITTED_JOBS.observe(len(jobs))
        except Exception as problem:
            is_faulty = len(jobs) > 1
            if not is_faulty:
                error = self._diagnose(problem)
                if disk_failure(error) is not None:
                    self._health.report_failure(error, 1)
                elif not isinstance(error, StatusError):
                    logger.exception("A write failed")
                jobs[0].error = error.with_traceback(None)
        if is_faulty:
            self._commit_each(jobs)  # in the handler, errors of single jobs would refer to the error of the group
            return
        self._loop.call_soon_threadsafe(self._finish, jobs, changes)
        if self._health.problem is None and self._checkpoints.is_on:
            self._merges.advance()
        self._checkpoints.restart_log()

    def _commit_each(self, jobs: list[_Job]) -> None:
        """Commit each job separately. After the disk has refused one job, refuse the others without an attempt."""
        for index, job in enumerate(jobs):
            self._commit([job])
            if job.error is not None and disk_failure(job.error) is not None:
                others = jobs[index + 1 :]
                for other in others:
                    other.error = copy.copy(job.error)  # a shared exception would collect the tracebacks of all jobs
                self._health.report_failure(job.error, len(others))
                self._loop.call_soon_threadsafe(self._finish, others, [])
                return

    def _attempt_again(self, jobs: list[_Job]) -> list[Change]:
        """Run `_attempt`. If SQLite reports damage, run it once more, because the disk may have failed only once."""
        try:
            return self._attempt(jobs)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
        release_page_cache(self._connection)
        return self._attempt(jobs)

    def _attempt(self, jobs: list[_Job]) -> list[Change]:
        """Run all jobs in one SQLite transaction and commit it, or roll it back and raise."""
        if self._must_reload:
            self._reload()
        changed_rows = self._connection.total_changes
        group = self._begin_group(self._merges.tables)
        sequence = None
        self._clock.begin_commit()
        try:
            self._merges.require_flushes()
            self._checkpoints.complete_log()
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for job in jobs:
                    job.error = None
                    try:
                        job.result = job.work(group)
                    except StatusError as error:
                        job.error = error.with_traceback(None)
                if group.commit_time:
                    group.connection.execute(
                        "INSERT OR REPLACE INTO settings (name, value) VALUES ('clock', ?)", (group.commit_time,)
                    )
                self._checkpoints.adjust()
                if self._connection.total_changes > changed_rows:
                    self._check_file()
                self._connection.execute("COMMIT")
            except BaseException as error:
                self._checkpoints.report_failure(error)
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                self._must_reload = True
                self._reload()
                raise
            if self._health.problem is not None and self._connection.total_changes > changed_rows:
                self._health.report_success()
            if group.changes:
                sequence = group.changes[-1].sequence
                self._record_commit(sequence)
        finally:
            self._clock.publish(sequence)
        return group.changes

    def _reload(self) -> None:
        """Load the state in memory that a rolled back group has changed. If this fails, the next group tries again."""
        self._on_rollback(self._connection)
        self._must_reload = False

    def _finish(self, jobs: list[_Job], changes: list[Change]) -> None:
        """Resolve the futures and publish the changes in one step of the loop, before any request continues."""
        for job in jobs:
            if job.future.cancelled():
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)
        self._on_commit(changes)


def _execute(statement: str, group: CommitGroup) -> None:
    group.connection.execute(statement)
