"""The one writer: a thread that takes whatever waits and makes it durable together.

Work that is submitted while a commit is under way goes into the next one, so that one fsync serves many
calls. Each piece of work must either finish or raise before it has changed anything; should one break
that rule by failing, the group is rolled back and done again one by one, and only the culprit fails.
Nothing is answered before the commit that holds it is on disk.
"""

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from infra.embedded.firestore.encoding.resource_names import ResourceName
from infra.embedded.firestore.errors import StatusError, unavailable
from infra.embedded.firestore.indexes.catalog import Catalog
from infra.embedded.firestore.indexes.entries import DocumentIndexer
from infra.embedded.firestore.storage import versions
from infra.embedded.firestore.storage.clock import Clock
from infra.embedded.firestore.storage.rows import Rows
from infra.embedded.firestore.storage.versions import Change, Stored

T = TypeVar("T")
MAX_GROUP_SIZE = 2_000
GATHER_SECONDS = 0.001

logger = logging.getLogger(__name__)


class Admission(Protocol):
    """Decides whether a commit may be written now."""

    def admit(self, documents: Sequence[Any]) -> None:
        """Return if the documents that one commit changes may be written, or raise `StatusError`."""


class Group:
    """What work may use inside the writer's transaction."""

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
        self.rows = Rows(connection)
        self.changes: list[Change] = []
        self.commit_time = 0

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, with everything written that was gathered so far."""
        self.rows.write()
        return self._connection

    def next_commit_time(self) -> int:
        """Return the time of one more commit in this group."""
        self.commit_time = self._clock.next()
        return self.commit_time

    def find(self, name: ResourceName, path: bytes) -> tuple[int | None, Stored | None]:
        """Return the collection_number of a document, if it has one yet, and its current version."""
        collection_number = self._catalog.number(name.database, name.collection_id)
        return collection_number, None if collection_number is None else self.rows.current(collection_number, path)

    def look_up(self, documents: Iterable[tuple[ResourceName, bytes]]) -> None:
        """Find out at once which documents are there; each question lets other threads go first."""
        paths: defaultdict[int, list[bytes]] = defaultdict(list)
        for name, path in documents:
            collection_number = self._catalog.number(name.database, name.collection_id)
            if collection_number is not None:
                paths[collection_number].append(path)
        for collection_number, there in paths.items():
            self.rows.look_up(collection_number, there)

    def collection_number(self, name: ResourceName) -> int:
        """Return the collection_number of a document, which is new if need be."""
        return self._catalog.add(self._connection, name.database, name.collection_id)

    def changed_since(self, sequence: int) -> Iterator[Change]:
        """Yield what was changed after another change."""
        return versions.changes(self.connection, self._catalog, sequence, -1)


@dataclass(slots=True)
class _Job:
    work: Callable[[Group], Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Runs submitted work in the order of its submission."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        catalog: Catalog,
        clock: Clock,
        indexer: Callable[[str], DocumentIndexer],
        admission: Admission | None,
        rolled_back: Callable[[sqlite3.Connection], None],
        published: Callable[[list[Change]], None],
    ) -> None:
        self._connection = connection
        self._catalog = catalog
        self._clock = clock
        self._indexer = indexer
        self._admission = admission
        self._rolled_back = rolled_back
        self._published = published
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="firestore-writer")
        self._thread.start()

    async def submit(self, work: Callable[[Group], T]) -> T:
        """Run `work` in the next group and return its result once that is durable."""
        if self._closed:
            raise unavailable("The server is shutting down.")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Job(work, future))
        return await future

    async def close(self) -> None:
        """Finish what was submitted, then stop."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await self._loop.run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        stopping = False
        together = 0  # in the group before: where many write at once, more will come in a moment
        while not stopping:
            jobs: list[_Job] = []
            waiting = self._queue.get()
            if together > 1:
                time.sleep(GATHER_SECONDS)
            while waiting is not None:
                jobs.append(waiting)
                if len(jobs) == MAX_GROUP_SIZE:
                    break
                try:
                    waiting = self._queue.get_nowait()
                except queue.Empty:
                    break
            stopping = waiting is None
            together = len(jobs)
            if jobs:
                self._commit(jobs)
        self._connection.close()

    def _commit(self, jobs: list[_Job]) -> None:
        try:
            changes = self._attempt(jobs)
        except Exception as error:
            if len(jobs) > 1:
                for job in jobs:
                    self._commit([job])
                return
            if isinstance(error, sqlite3.OperationalError):
                logger.error("A write failed: %s", error)  # noqa: TRY400 - the disk is at fault
            elif not isinstance(error, StatusError):
                logger.exception("A write failed")
            jobs[0].error = error
            changes = []
        self._loop.call_soon_threadsafe(self._finish, jobs, changes)

    def _attempt(self, jobs: list[_Job]) -> list[Change]:
        group = Group(self._connection, self._catalog, self._clock, self._indexer, self._admission)
        sequence = None
        self._clock.begin()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for job in jobs:
                    job.error = None
                    try:
                        job.result = job.work(group)
                    except StatusError as refusal:
                        job.error = refusal
                if group.commit_time:
                    group.connection.execute(
                        "INSERT OR REPLACE INTO settings (name, value) VALUES ('clock', ?)", (group.commit_time,)
                    )
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                self._rolled_back(self._connection)
                raise
            sequence = group.changes[-1].sequence if group.changes else None
        finally:
            self._clock.publish(sequence)
        return group.changes

    def _finish(self, jobs: list[_Job], changes: list[Change]) -> None:
        for job in jobs:
            if job.future.cancelled():
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)
        self._published(changes)  # in the same step of the loop: whoever is answered finds it published
