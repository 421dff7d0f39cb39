"""Merges of entry tables: they move index entries to larger tables, in key order.

A commit adds entries at random places of an index. In a large table, almost every entry changes a different page. A
merge writes each page of its target once. If `MERGED_TABLES` tables of a level are closed, a merge moves their entries
to a new table of the next level. A file therefore has few tables, and each entry is moved once per level.

The writer calls `advance` after a commit. `advance` moves entries in proportion to the rows that were changed after the
last call. Merges therefore keep up with the commits, and delay each commit only a little. A merge continues after a
crash, because its position is part of the transaction that moves entries. This transaction is not flushed to the disk.
The flush of the next commit includes it.
"""

import contextlib
import logging
import sqlite3
from collections import defaultdict
from collections.abc import Iterator

from infra.embedded.firestore.indexes.entry_tables import (
    CLOSED,
    FREE,
    MOVED,
    OPEN,
    TARGET,
    EntryTable,
    EntryTables,
    all_tables,
    create_table,
)

MAX_OPEN_ENTRIES = 6_000
MERGED_TABLES = 4
MIN_CHANGED_ROWS = 500
"""`advance` does nothing until this number of rows has changed."""

MOVED_PER_CHANGED_ROW = 4
"""The number of entries that each merge moves for a changed row. A low number means more tables to read."""

MAX_LEVEL_EMPTIED_AT_ONCE = 3
"""Tables of higher levels are emptied in steps, because no commit runs while a table is emptied.

A table of level 3 has up to 384,000 entries. To empty a table at once takes 0.2 µs per entry if its pages are cached.
In an hour of load, one request took 7 s, at about the time at which tables of 4 GiB were emptied. Steps take 1.2 to
2 µs per entry.
"""

_AFTER = "SELECT collection_number, key, size FROM {} WHERE (collection_number, key) > (?, ?)"
_NEXT = f"{_AFTER} LIMIT 1"
_MOVE = "INSERT OR IGNORE INTO {} SELECT * FROM ({} ORDER BY 1, 2 LIMIT ?)"
_COUNT = "SELECT count(*) FROM {}"
_EMPTY = "DELETE FROM {}"
_NTH = "SELECT collection_number, key FROM {} ORDER BY 1, 2 LIMIT 1 OFFSET ?"
_DELETE_BEFORE = "DELETE FROM {} WHERE (collection_number, key) < (?, ?)"
_LAST = "SELECT collection_number, key FROM {} ORDER BY collection_number DESC, key DESC LIMIT 1"

logger = logging.getLogger(__name__)


class EntryMerges:
    """The merges of a file. `connection` is the connection of the writer."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._changed_rows = connection.total_changes
        self._failed = False
        (secure_delete,) = connection.execute("PRAGMA secure_delete").fetchone()
        self._secure_delete = ("OFF", "ON", "FAST")[secure_delete]
        self._is_flushed = True
        self.tables = EntryTables(connection)
        """The present tables, for the writer."""

    def advance(self) -> None:
        """Continue all merges if enough rows have changed. Call it between two transactions."""
        changed = self._connection.total_changes - self._changed_rows
        if changed < MIN_CHANGED_ROWS:
            return
        try:
            self._advance(changed)
            self._failed = False
        except sqlite3.Error as error:
            if not self._failed:
                logger.warning("Cannot merge index entries, trying again later: %s", error)
            self._failed = True
        self._changed_rows = self._connection.total_changes

    def require_flushes(self) -> None:
        """After a merge, let transactions be flushed to the disk again. Raise an error of SQLite if this fails.

        Call it before each transaction. After a merge that failed, SQLite first reads the schema again, which can fail.
        """
        if not self._is_flushed:
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute(f"PRAGMA secure_delete = {self._secure_delete}")
            self._is_flushed = True

    def _advance(self, changed: int) -> None:
        is_full = self._is_full(self.tables.open_table)
        if not is_full and not any(table.state in (TARGET, MOVED) for table in all_tables(self._connection)):
            return
        with self._unflushed():
            self._empty_moved_tables(MOVED_PER_CHANGED_ROW * changed)
            if is_full:
                self._open_next()
            for table in all_tables(self._connection):
                if table.state == TARGET:
                    self._move(table, MOVED_PER_CHANGED_ROW * changed)
            tables = EntryTables(self._connection)  # before the commit, because a later read could fail
        self.tables = tables

    @contextlib.contextmanager
    def _unflushed(self) -> Iterator[None]:
        """Run a transaction without a flush to the disk. The pages of moved entries are not overwritten with zeros.

        `require_flushes` ends this. If it failed here, the merge could be stored although `tables` is not up to date.
        """
        connection = self._connection
        (checkpointed_pages,) = connection.execute("PRAGMA wal_autocheckpoint").fetchone()
        self._is_flushed = False
        try:
            connection.execute("PRAGMA secure_delete = OFF")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA wal_autocheckpoint = 0")  # SQLite would ignore that its flush has failed
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        finally:
            connection.execute(f"PRAGMA wal_autocheckpoint = {checkpointed_pages}")

    def _is_full(self, table: EntryTable) -> bool:
        (count,) = self._connection.execute(_COUNT.format(table.name)).fetchone()
        return int(count) >= MAX_OPEN_ENTRIES

    def _open_next(self) -> None:
        """Close the open table, open another one, and start a merge on each level with enough closed tables."""
        self._connection.execute("UPDATE entry_tables SET state = ? WHERE state = ?", (CLOSED, OPEN))
        self._use_table(OPEN, 0)
        closed: defaultdict[int, list[int]] = defaultdict(list)
        for table in all_tables(self._connection):
            if table.state == CLOSED and table.target is None:
                closed[table.level].append(table.number)
        for level, numbers in closed.items():
            if len(numbers) >= MERGED_TABLES:
                target = self._use_table(TARGET, level + 1)
                self._connection.executemany(
                    "UPDATE entry_tables SET target = ? WHERE number = ?", [(target, number) for number in numbers]
                )

    def _use_table(self, state: str, level: int) -> int:
        """Set the state and the level of an empty table and return its number. Create one if there is none."""
        tables = all_tables(self._connection)
        free = [table.number for table in tables if table.state == FREE]
        number = min(free) if free else max(table.number for table in tables) + 1
        if not free:
            create_table(self._connection, number)
        self._connection.execute(
            "INSERT OR REPLACE INTO entry_tables VALUES (?, ?, ?, NULL, 0, x'')", (number, state, level)
        )
        return number

    def _move(self, target: EntryTable, limit: int) -> None:
        """Move the next entries to the target of a merge. After the last entry, end the merge."""
        sources = [table for table in all_tables(self._connection) if table.target == target.number]
        after = target.collection_number, target.position
        entries = " UNION ALL ".join(_AFTER.format(source.name) for source in sources)
        self._connection.execute(_MOVE.format(target.name, entries), (*after * len(sources), limit))
        after = max(after, self._connection.execute(_LAST.format(target.name)).fetchone() or after)
        self._connection.execute(
            "UPDATE entry_tables SET collection_number = ?, position = ? WHERE number = ?", (*after, target.number)
        )
        if not any(self._connection.execute(_NEXT.format(source.name), after).fetchone() for source in sources):
            self._connection.execute("UPDATE entry_tables SET state = ? WHERE number = ?", (CLOSED, target.number))
            self._connection.execute(
                "UPDATE entry_tables SET state = ?, target = NULL WHERE target = ?", (MOVED, target.number)
            )

    def _empty_moved_tables(self, limit: int) -> None:
        """Empty one table of each level whose entries have all been moved. Empty a large table in steps."""
        first_of_level: dict[int, EntryTable] = {}
        for table in all_tables(self._connection):
            if table.state == MOVED:
                first_of_level.setdefault(table.level, table)
        for level, table in first_of_level.items():
            if level > MAX_LEVEL_EMPTIED_AT_ONCE:
                end = self._connection.execute(_NTH.format(table.name), (limit,)).fetchone()
                if end is not None:
                    self._connection.execute(_DELETE_BEFORE.format(table.name), end)
                    continue
            self._connection.execute(_EMPTY.format(table.name))
            self._connection.execute("UPDATE entry_tables SET state = ? WHERE number = ?", (FREE, table.number))
