"""The group commit in progress: the reads and changes of the jobs of one group."""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from infra.embedded.firestore.encoding.resource_names import ResourceName
from infra.embedded.firestore.encoding.values import END
from infra.embedded.firestore.indexes.catalog import Catalog
from infra.embedded.firestore.indexes.entries import DocumentIndexer
from infra.embedded.firestore.indexes.entry_tables import EntryTables
from infra.embedded.firestore.storage import versions
from infra.embedded.firestore.storage.clock import Clock
from infra.embedded.firestore.storage.row_buffer import RowBuffer
from infra.embedded.firestore.storage.versions import Change, DocumentVersion

T = TypeVar("T")


class Admission(Protocol):
    """Decides whether a commit may change its documents now."""

    def admit(self, documents: Sequence[Any]) -> None:
        """Return normally if a commit may change all these documents now. Otherwise raise `StatusError`."""


class CommitGroup:
    """The group commit in progress. Jobs use this object on the writer's thread."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        catalog: Catalog,
        clock: Clock,
        indexer: Callable[[str], DocumentIndexer],
        admission: Admission | None,
        entry_tables: EntryTables,
    ) -> None:
        self._connection = connection
        self._entry_tables = entry_tables
        self._clock = clock
        self.catalog = catalog
        self.indexer = indexer
        self.admission = admission
        self.rows = RowBuffer(connection, entry_tables)
        self.changes: list[Change] = []
        self.commit_time = 0

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection. All buffered rows are written before it is returned."""
        self.rows.flush()
        return self._connection

    def execute(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Call `work` with the connection and return its result. An error rolls back the changes of `work`."""
        connection = self.connection
        connection.execute("SAVEPOINT execute")
        try:
            result = work(connection)
        except BaseException:
            if connection.in_transaction:  # a full disk ends the transaction
                connection.execute("ROLLBACK TO execute")
                connection.execute("RELEASE execute")
            raise
        connection.execute("RELEASE execute")
        return result

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
        number = self.catalog.number(name.database, name.collection_id)
        return number, None if number is None else self.rows.current(number, path)

    def find_damaged(self, name: ResourceName, path: bytes) -> tuple[int, DocumentVersion, dict[bytes, int]]:
        """Return the collection number, the version and the index entries of a damaged document.

        Only a search in all entries of the collection finds its entries.
        """
        number = self.catalog.number(name.database, name.collection_id)
        assert number is not None
        damaged = versions.damaged(self.connection, number, path)
        return number, damaged, self._entry_tables.ending_with(number, path + END)

    def prefetch_absent(self, documents: Iterable[tuple[ResourceName, bytes]]) -> None:
        """Record which documents do not exist, with one statement per collection.

        Fewer statements are faster, because each statement lets other threads run.
        """
        paths: defaultdict[int, list[bytes]] = defaultdict(list)
        for name, path in documents:
            number = self.catalog.number(name.database, name.collection_id)
            if number is not None:
                paths[number].append(path)
        for number, paths_of_collection in paths.items():
            self.rows.prefetch_absent(number, paths_of_collection)

    def collection_number(self, name: ResourceName) -> int:
        """Return the collection number of a document. Assign a number if there is none."""
        return self.catalog.add(self._connection, name.database, name.collection_id)
