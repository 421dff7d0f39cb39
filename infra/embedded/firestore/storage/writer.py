"""The writer: one thread that commits all waiting jobs as one group.

Jobs that are submitted during a commit join the next group, so that one fsync serves many requests. A job may raise
`StatusError` only before it changes anything. If a job raises another error, the writer rolls back the group and
commits each job separately, so that only the faulty job fails.

`submit` returns only after the commit is on disk.

If the disk is full or fails, commits fail until it works again. The writer then tests the disk every
DISK_TEST_SECONDS, so that it notices this without a request.
"""

import asyncio
import contextlib
import copy
import logging
import queue
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from infra.embedded.firestore import metrics
from infra.embedded.firestore.encoding.resource_names import ResourceName
from infra.embedded.firestore.encoding.values import END
from infra.embedded.firestore.errors import StatusError, disk_failure, unavailable
from infra.embedded.firestore.indexes.catalog import Catalog
from infra.embedded.firestore.indexes.entries import DocumentIndexer
from infra.embedded.firestore.storage import versions
from infra.embedded.firestore.storage.checkpoints import AutomaticCheckpoints
from infra.embedded.firestore.storage.clock import Clock
from infra.embedded.firestore.storage.disk_health import DISK_TEST, DiskHealth
from infra.embedded.firestore.storage.row_buffer import RowBuffer
from infra.embedded.firestore.storage.versions import Change, DocumentVersion

_ENTRIES_OF = "SELECT key, size FROM entries WHERE collection_number = ? AND size = ? AND substr(key, -size) = ?"

T = TypeVar("T")
MAX_GROUP_SIZE = 2_000
GATHER_SECONDS = 0.001
"""The time to wait for more jobs if the previous group had more than one job."""
DISK_TEST_SECONDS = 0.5
CANNOT_WRITE = "The server cannot write any more and must restart."

logger = logging.getLogger(__name__)


class WriterEnded(Exception):
    """The writer's thread has ended because of a defect. The process must end, so that its supervisor restarts it."""


class Admission(Protocol):
    """Decides whether a commit may change its documents now."""

    def admit(self, documents: Sequence[Any]) -> None:
        """Return if a commit may change all these documents now. Otherwise raise `StatusError`."""


class Group:
    """The group commit in progress. Jobs use this object on the writer's thread."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        catalog: Catalog,
        clock: Clock,
        indexer: Callable[[str], DocumentIndexer],
        admission: Admission | None,
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._catalog = catalog
        self.indexer = indexer
        self.admission = admission
        self.rows = RowBuffer(connection)
        self.changes: list[Change] = []
        self.commit_time = 0

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection. All buffered rows are written before it is returned."""
        self.rows.flush()
        return self._connection

    def next_commit_time(self) -> int:
        """Return the commit time for the next commit in this group."""
        self.commit_time = self._clock.next_commit_time()
        return self.commit_time

    def restored_commit_time(self, commit_time: int) -> int:
        """Return `commit_time`, which an import restores. Later commits get later times."""
        self._clock.advance(commit_time)
        self.commit_time = commit_time
        return commit_time

    def find(self, name: ResourceName, path: bytes) -> tuple[int | None, DocumentVersion | None]:
        """Return the collection number and the current version of a document, or None for a missing value."""
        number = self._catalog.number(name.database, name.collection_id)
        return number, None if number is None else self.rows.current(number, path)

    def find_damaged(self, name: ResourceName, path: bytes) -> tuple[int, DocumentVersion, dict[bytes, int]]:
        """Return the collection number, the version and the index entries of a damaged document.

        Only a search in all entries of the collection finds its entries.
        """
        number = self._catalog.number(name.database, name.collection_id)
        assert number is not None
        connection = self.connection
        suffix = path + END
        entries = connection.execute(_ENTRIES_OF, (number, len(suffix), suffix)).fetchall()
        return number, versions.damaged(connection, number, path), dict(entries)

    def prefetch_absent(self, documents: Iterable[tuple[ResourceName, bytes]]) -> None:
        """Record which documents do not exist, with one statement per collection.

        Fewer statements are faster, because each statement lets other threads run.
        """
        paths: defaultdict[int, list[bytes]] = defaultdict(list)
        for name, path in documents:
            number = self._catalog.number(name.database, name.collection_id)
            if number is not None:
                paths[number].append(path)
        for number, paths_of_collection in paths.items():
            self.rows.prefetch_absent(number, paths_of_collection)

    def collection_number(self, name: ResourceName) -> int:
        """Return the collection number of a document. Assign a number if there is none."""
        return self._catalog.add(self._connection, name.database, name.collection_id)

    def changed_since(self, sequence: int) -> Iterator[Change]:
        """Yield the changes with a sequence greater than `sequence`."""
        return versions.changes(self.connection, self._catalog, sequence, -1)


@dataclass(slots=True)
class _Job:
    work: Callable[[Group], Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None


class Writer:
    """Runs submitted jobs in the order of submission.

    `failed` gets the exception that ended the writer's thread, if one does. No later write can succeed then.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        catalog: Catalog,
        clock: Clock,
        indexer: Callable[[str], DocumentIndexer],
        admission: Admission | None,
        on_rollback: Callable[[sqlite3.Connection], None],
        record_commit: Callable[[int], None],
        on_commit: Callable[[list[Change]], None],
        health: DiskHealth,
        checkpoints: AutomaticCheckpoints,
    ) -> None:
        self._connection = connection
        self._catalog = catalog
        self._clock = clock
        self._indexer = indexer
        self._admission = admission
        self._on_rollback = on_rollback
        self._record_commit = record_commit
        self._on_commit = on_commit
        self._health = health
        self._checkpoints = checkpoints
        self._must_reload = False
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self.failed: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="firestore-writer")
        self._thread.start()

    async def submit(self, work: Callable[[Group], T]) -> T:
        """Run `work` in the next group and return its result after the commit."""
        if self._closed:
            raise unavailable("The server is shutting down.")
        if self.failed.done():
            raise unavailable(CANNOT_WRITE)
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Job(work, future))
        return await future

    async def close(self) -> None:
        """Commit all submitted jobs, then stop."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await self._loop.run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        jobs: list[_Job] = []
        try:
            stopping = False
            previous_size = 0
            while not stopping:
                jobs, stopping = self._next_group(gather=previous_size > 1)
                previous_size = len(jobs)
                if jobs:
                    self._commit(jobs)
        except BaseException as error:
            logger.exception("The writer's thread ended")
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._fail, error, jobs)
        finally:
            self._connection.close()

    def _fail(self, error: BaseException, jobs: list[_Job]) -> None:
        """Report the end of the thread, and refuse the jobs that have no outcome and all later jobs."""
        self.failed.set_exception(WriterEnded(f"the writer's thread ended, so this server cannot write: {error!r}"))
        self.failed.exception()  # the owner of the storage may close it without looking at `failed`
        while not self._queue.empty():
            job = self._queue.get()
            jobs = jobs if job is None else [*jobs, job]
        for job in jobs:
            if not job.future.done():
                job.future.set_exception(unavailable(CANNOT_WRITE))

    def _next_group(self, gather: bool) -> tuple[list[_Job], bool]:
        """Wait for jobs. Return all waiting jobs, and whether the writer must stop after these jobs."""
        jobs: list[_Job] = []
        job = self._wait_for_job()
        if gather:
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
        """Wait for a job. While the disk fails, test it regularly. Return None if the writer must stop."""
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
        try:
            changes = self._attempt(jobs)
            metrics.COMMIT_DURATION.observe(time.perf_counter() - started_at)
            metrics.COMMITTED_JOBS.observe(len(jobs))
        except Exception as error:
            if len(jobs) > 1:
                self._commit_each(jobs)
                return
            if disk_failure(error) is not None:
                self._health.report_failure(error, 1)
            elif not isinstance(error, StatusError):
                logger.exception("A write failed")
            jobs[0].error = error
            changes = []
        self._loop.call_soon_threadsafe(self._finish, jobs, changes)

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

    def _attempt(self, jobs: list[_Job]) -> list[Change]:
        """Run all jobs in one SQLite transaction and commit it, or roll it back and raise."""
        if self._must_reload:
            self._reload()
        changed_rows = self._connection.total_changes
        group = Group(self._connection, self._catalog, self._clock, self._indexer, self._admission)
        sequence = None
        self._clock.begin_commit()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for job in jobs:
                    job.error = None
                    try:
                        job.result = job.work(group)
                    except StatusError as error:
                        job.error = error
                if group.commit_time:
                    group.connection.execute(
                        "INSERT OR REPLACE INTO settings (name, value) VALUES ('clock', ?)", (group.commit_time,)
                    )
                self._checkpoints.adjust()
                self._connection.execute("COMMIT")
            except BaseException:
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
        """Read again what a rolled back group has changed in memory. If this fails, the next group repeats it."""
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


def _execute(statement: str, group: Group) -> None:
    group.connection.execute(statement)
