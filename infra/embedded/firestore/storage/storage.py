"""Storage: the open SQLite file with its writer, readers, indexes and clock.

One writer commits in groups. Each read has its own connection, and commits do not block reads. A read uses a read time,
for example from `snapshot`. A long read can fetch each page in a new SQLite transaction and still see one consistent
state, because the file keeps superseded versions for `version_retention_seconds`.
"""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from infra.embedded.firestore.data_file import file_check, file_format, restore
from infra.embedded.firestore.data_file.connection import connect
from infra.embedded.firestore.data_file.data_marker import DataMarker
from infra.embedded.firestore.data_file.lock_file import LockFile
from infra.embedded.firestore.data_file.read_check import ReadCheck
from infra.embedded.firestore.data_file.reserve_file import ReserveFile
from infra.embedded.firestore.data_file.upgrade_copy import copy_before_upgrade
from infra.embedded.firestore.errors import ReadTimeTooOld, disk_failure, invalid_argument, unavailable
from infra.embedded.firestore.indexes.catalog import Catalog
from infra.embedded.firestore.indexes.definitions import CompositeIndex, Definitions
from infra.embedded.firestore.indexes.index_builds import add_index, apply_definitions
from infra.embedded.firestore.indexes.index_registry import IndexRegistry, ReadableIndexes
from infra.embedded.firestore.storage import versions
from infra.embedded.firestore.storage.checkpoints import MAX_LOG_BYTES, AutomaticCheckpoints, Checkpointer
from infra.embedded.firestore.storage.clock import Clock, Snapshot, SteadyClock
from infra.embedded.firestore.storage.commit_group import Admission, CommitGroup
from infra.embedded.firestore.storage.disk_health import DiskHealth
from infra.embedded.firestore.storage.earlier_results import EarlierResults
from infra.embedded.firestore.storage.index_builder import BuildProgress, IndexBuilder
from infra.embedded.firestore.storage.readers import Readers, release_page_cache
from infra.embedded.firestore.storage.versions import Change
from infra.embedded.firestore.storage.writer import Writer

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Storage:
    """The open data file. Use it only on the event loop that created it, and call `close` at the end."""

    def __init__(
        self,
        path: Path,
        version_retention_seconds: float = 3600.0,
        definitions: Definitions | None = None,
        creates_indexes: bool = True,
        admission: Callable[[IndexRegistry], Admission] | None = None,
        max_log_bytes: int = MAX_LOG_BYTES,
    ) -> None:
        self.path = file_check.resolve(path)  # the lock and the log are next to the file that a link names
        self.version_retention_seconds = version_retention_seconds
        self.creates_indexes = creates_indexes
        self._max_log_bytes = max_log_bytes
        self.catalog = Catalog()
        self._registry = IndexRegistry(definitions or Definitions())
        self.earlier_results = EarlierResults()
        self.group_commits = 0
        self.observers: list[Callable[[list[Change]], None]] = []
        """Called with the changes of each group commit, in commit order, before its requests continue."""
        self._marker = DataMarker.of(path)
        self._lock_file = LockFile(self.path)
        self.reserve = ReserveFile(self.path)
        self.health = DiskHealth(self.path)
        try:
            self._connection = self._open()
        except sqlite3.DatabaseError as error:
            self._lock_file.close()
            raise file_check.unreadable(self.path, error) from error
        except BaseException:
            self._lock_file.close()
            raise
        self._files = file_check.OpenFiles(self.path)
        self._read_check = ReadCheck(self._files.descriptor, self._files.log_path)
        self.reserve.create()
        settings = dict(self._connection.execute("SELECT name, value FROM settings").fetchall())
        self.database_id = file_format.database_id(self._connection)
        sequence, commit_time = versions.newest(self._connection)
        self.clock = Clock(latest := max(commit_time, settings.get("clock", 0)), sequence)
        self.steady_clock = SteadyClock(settings.get("steady_clock", latest) or None)
        """Measures the ages of documents and versions."""
        self.pruned_sequence: int = settings.get("pruned", 0)
        """Changes up to this sequence may have been pruned."""
        self._readers = Readers(self._connect_again, self._read_check.diagnose)
        checkpoints = AutomaticCheckpoints(self._connection, self.path, max_log_bytes)
        own_admission = None if admission is None else admission(self._registry)
        self._writer = Writer(
            self._connection,
            partial(CommitGroup, self._connection, self.catalog, self.clock, self._registry.indexer, own_admission),
            self.clock,
            self.health,
            checkpoints,
            diagnose=self._read_check.diagnose,
            check_file=self._files.check,
            record_commit=self._marker.record,
            on_commit=self._publish,
            on_rollback=self._load_catalog_and_indexes,
        )
        self._checkpointer = Checkpointer(self._connect_again(), self.path, checkpoints.limit_log)
        self._index_builder = IndexBuilder(
            self.catalog, self._registry, self.execute, self.read, lambda: self.group_commits
        )
        self._index_builder.start()

    @property
    def failed(self) -> "asyncio.Future[None]":
        """A future that raises when no further write can succeed. The process must then exit."""
        return self._writer.failed

    def _open(self) -> sqlite3.Connection:
        """Prepare the file for use and return the writer's connection. On a full disk, release the reserve for this.

        Raise `UnusableFile`, or an error of SQLite.
        """
        try:
            return self._open_file()
        except sqlite3.OperationalError as error:
            if disk_failure(error) is None or not self.reserve.release():
                raise
            connection = self._open_file()  # the error can have another reason, such as a file of another user
            logger.warning("The disk of %s had no space to open the file (%s); released the reserve", self.path, error)
            return connection

    def _open_file(self) -> sqlite3.Connection:
        file_check.require_write_permission(self.path)
        version = file_check.check(self.path, self._marker)
        restore.delete_unfinished(self.path)
        if 0 < version < file_format.FORMAT_VERSION:
            # The copy releases the lock of this connection: see `OpenFiles`.
            with contextlib.closing(connect(self.path, self._max_log_bytes)) as connection:
                file_format.create_log(connection, self.path)
                copy_before_upgrade(connection, self.path, version)
        connection = connect(self.path, self._max_log_bytes)
        try:
            self._prepare(connection, version)
        except BaseException:
            connection.close()  # the next attempt opens and closes the file
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection, version: int) -> None:
        file_format.create_log(connection, self.path)
        file_format.prepare(connection, version)
        self.catalog.load(connection)
        connection.execute("BEGIN IMMEDIATE")
        apply_definitions(connection, self.catalog, self._registry, drop_undefined=not self.creates_indexes)
        connection.execute("COMMIT")
        self._marker.open(file_format.database_id(connection), versions.newest(connection)[0])

    async def close(self) -> None:
        """Commit all submitted work and close the file."""
        await self._index_builder.close()
        await self._writer.close()
        loop = asyncio.get_running_loop()
        for close in (self._readers.close, self._checkpointer.close, self._read_check.close):
            await loop.run_in_executor(None, close)
        self._files.close()
        self._marker.close()
        self._lock_file.close()

    def unused_bytes(self) -> int:
        """Return the bytes of the file that were unused at the last checkpoint. New data fills them before it grows."""
        return self._files.unused_bytes()

    def _connect_again(self) -> sqlite3.Connection:
        """Open another connection to the file. Raise `FileMoved` if it would read other files than the writer."""
        self._files.check()
        connection = connect(self.path, self._max_log_bytes, mode="rw")
        connection.execute("PRAGMA schema_version")  # opens the log, so that its deletion does not matter later
        return connection

    async def release_memory(self) -> None:
        """Free SQLite's page caches and the earlier results. Later reads and writes fill the caches again."""
        self.earlier_results.clear()
        await self._readers.release_memory()
        await self._writer.submit(lambda group: release_page_cache(group.connection))

    def _load_catalog_and_indexes(self, connection: sqlite3.Connection) -> None:
        self.catalog.load(connection)
        self._registry.load(connection)

    def _publish(self, changes: list[Change]) -> None:
        self.group_commits += 1
        self._checkpointer.report_changed_rows(self._connection.total_changes)
        if changes:
            for observer in self.observers:
                try:
                    observer(changes)
                except Exception:  # the others must not miss the changes
                    logger.exception("An observer of changes failed")

    # Read times

    def snapshot(self) -> Snapshot:
        """Return the latest snapshot, which includes every acknowledged commit."""
        return self.clock.snapshot()

    def check_read_time(self, read_time: int) -> int:
        """Return `read_time`, which a client requested. Raise `StatusError` if it is in the future or too old."""
        if not self.clock.reserve(read_time):
            raise invalid_argument("The requested 'read_time' cannot be in the future.")
        if read_time < self.steady_clock.now() - int(self.version_retention_seconds * 1_000_000):
            raise ReadTimeTooOld
        return read_time

    async def wait_until_visible(self, read_time: int | None = None) -> None:
        """Wait until readers see every commit up to `read_time` (None: every commit that has begun)."""
        if not self.clock.is_visible(read_time):
            await self.write(lambda group: None)

    # Writing

    async def write(self, work: Callable[[CommitGroup], T]) -> T:
        """Run `work` on the writer and return after the commit. If `work` raises, it must not have changed anything."""
        return await self._writer.submit(work)

    async def execute(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Call `work` with the writer's connection and return after the commit. An error rolls back its changes."""
        return await self._writer.submit(lambda group: group.execute(work))

    # Reading

    def check_is_damage(self) -> None:
        """Raise `StatusError` unless damage that SQLite has reported is certainly not a failure of the disk."""
        if not self._read_check.is_disk_intact:
            raise unavailable("The server is checking whether the disk can read the data file.")

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on a reader thread, in one SQLite transaction."""
        return await self._readers.read(work)

    def read_blocking(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the event loop's thread. Use it only for a few look-ups by key."""
        return self._readers.read_blocking(work)

    async def changes(self, after: int, limit: int) -> list[Change]:
        """Return committed changes after a sequence, in commit order: up to `limit`, or fewer if they are large."""
        published = self.clock.snapshot().sequence
        found = await self.read(lambda connection: versions.page_of_changes(connection, self.catalog, after, limit))
        return [change for change in found if change.sequence <= published]

    async def changes_at(self, sequences: Sequence[int]) -> list[Change]:
        """Return the committed changes with these sequences, in commit order."""
        return await self.read(lambda connection: list(versions.changes_at(connection, self.catalog, sequences)))

    async def changed_names(self, after: int, limit: int) -> list[tuple[int, str]]:
        """Return sequence and document name of the committed changes after a sequence, in commit order."""
        published = self.clock.snapshot().sequence
        found = await self.read(lambda connection: list(versions.changed_names(connection, self.catalog, after, limit)))
        return [(sequence, name) for sequence, name in found if sequence <= published]

    # Indexes

    @property
    def indexes(self) -> ReadableIndexes:
        """The indexes that queries may use."""
        return self._registry.readable

    @property
    def index_builds(self) -> dict[str, BuildProgress]:
        """The progress of the index builds that are running, by collection group."""
        return self._index_builder.progress

    async def create_index(self, index: CompositeIndex) -> None:
        """Build an index and log the definition to add. Return when the index is complete."""
        if index not in self._registry.indexes().values():
            definition = self._registry.definitions.missing_definition(index)
            logger.warning(
                "Created an index that production requires. Add it to firestore.indexes.json: %s", definition
            )
        await self.execute(lambda connection: add_index(connection, self.catalog, self._registry, index))
        await self._index_builder.wait(index.collection_id)

    async def wait_for_short_builds(self, seconds: float) -> None:
        """Wait until all index builds have finished, but at most `seconds`."""
        await self._index_builder.wait_for_all(seconds)

    async def wait_for_indexes(self, collection_id: str) -> None:
        """Wait until no indexes of a collection group are being built."""
        await self._index_builder.wait(collection_id)
