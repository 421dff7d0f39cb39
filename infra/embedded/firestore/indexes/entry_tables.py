"""Entry tables: the tables over which the index entries of a file are distributed.

New entries are added to the open table. It is small, so a commit changes few of its pages. When it is full, another
table is opened. Merges move the entries of full tables in key order to a larger table (see indexes/entry_merges.py). A
query reads its range of keys in all tables.

Each key is visible in one table. The position of a merge is the last key that was moved. Up to this key, the entries of
the target are visible. After this key, the entries of the sources are visible. Deletions apply to all tables, because
the sources still contain the keys that were moved.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from infra.embedded.firestore.encoding.path_encoding import AFTER_ALL
from infra.embedded.firestore.parameter_lists import padded

OPEN, CLOSED, TARGET, MOVED, FREE = "open", "closed", "target", "moved", "free"
"""The states of a table. All entries of a moved table are in another table. A free table is empty."""

MAX_KEYS = 500

_FIRST_PART, _MAX_PART = 4, 64
"""The numbers of keys in the first part and in a later part. If many keys are skipped, a part of 64 takes 40 ms."""

Entry = tuple[int, bytes, int]
"""Collection number, key, and the number of bytes of the path at the end of the key."""

_TABLES = "SELECT number, state, level, target, collection_number, position FROM entry_tables ORDER BY level, number"
_RANGE = "SELECT key, size FROM {} WHERE collection_number = ? AND key >= ? AND key < ?{}"
_KEYS = "SELECT key FROM {} WHERE collection_number = ? AND key >= ?"
_COUNT = "SELECT count(*) FROM {} WHERE collection_number = ? AND key >= ? AND key < ?"
_COUNT_UP_TO = "SELECT count(*) FROM (SELECT 1 FROM {} WHERE collection_number = ? AND key >= ? AND key < ? LIMIT ?)"
_COUNT_KEYS = "SELECT count(*) FROM {} WHERE collection_number = ? AND key >= ? AND key IN ({})"
_WITH_PATH = "SELECT key, size FROM {} WHERE collection_number = ? AND key >= ? AND size = ? AND substr(key, -size) = ?"
_INSERT = "INSERT OR IGNORE INTO {} VALUES (?, ?, ?)"
_INSERT_MISSING = "INSERT OR IGNORE INTO {} SELECT ?1, ?2, ?3 WHERE NOT ({})"
_EXISTS = "EXISTS (SELECT 1 FROM {} WHERE collection_number = ?1 AND key = ?2 AND key >= ?{})"
_LAST_KEYS = """
SELECT max(key) FROM
(SELECT key FROM {} WHERE collection_number = ? AND key >= ? AND key < ? ORDER BY key LIMIT ?)
"""
_DELETE_KEYS = "DELETE FROM {} WHERE collection_number = ? AND key >= ? AND key <= ?"
_DELETE = "DELETE FROM {} WHERE collection_number = ? AND key = ?"
_NUMBERS = "SELECT DISTINCT collection_number FROM {}"
_CREATE = """
CREATE TABLE {} (
    collection_number INTEGER NOT NULL, key BLOB NOT NULL,
    size INTEGER NOT NULL, -- bytes of the path at the end of the key
    PRIMARY KEY (collection_number, key)
) WITHOUT ROWID
"""


class EntryTable(NamedTuple):
    """A row of `entry_tables`."""

    number: int
    state: str
    level: int
    """0 for a table that is or was open. A merge creates a table of the next level."""
    target: int | None
    """The table to which a merge moves the entries of this table."""
    collection_number: int
    """The collection number in the position of the merge that fills this table."""
    position: bytes
    """The key in the position of the merge that fills this table."""

    @property
    def name(self) -> str:
        """The name of the table in the file."""
        return name_of(self.number)


class KeyCondition(NamedTuple):
    """A condition on the column `key`: an SQL expression and its parameters."""

    sql: str
    parameters: tuple[bytes, ...]


def name_of(number: int) -> str:
    """Return the name of the table with a number."""
    return f"entries_{number}" if number else "entries"


def all_tables(connection: sqlite3.Connection) -> list[EntryTable]:
    """Return all tables for entries, by level."""
    return list(map(EntryTable._make, connection.execute(_TABLES)))


def create_table(connection: sqlite3.Connection, number: int) -> None:
    """Create an empty table for entries."""
    connection.execute(_CREATE.format(name_of(number)))


class EntryTables:
    """The tables with entries, as one SQLite transaction sees them. Small tables come first."""

    def __init__(self, connection: sqlite3.Connection, *, reads_in_parts: bool = False) -> None:
        """Read the tables. With `reads_in_parts`, a scan ends its statement after each part of the keys.

        Python prepares a statement again if another scan is still reading it. If 30 scans are open, a scan of 9 tables
        takes 212 µs until its first key, and 52 to 58 µs in parts.
        """
        self._connection = connection
        self._reads_in_parts = reads_in_parts
        self.tables = [table for table in all_tables(connection) if table.state in (OPEN, CLOSED, TARGET)]
        targets = {table.number: table for table in self.tables if table.state == TARGET}
        self._merges = [(table.name, None if table.target is None else targets[table.target]) for table in self.tables]
        """The name of each table, and the target of the merge that moves its entries, if any."""

    @property
    def open_table(self) -> EntryTable:
        """The table for new entries."""
        return next(table for table in self.tables if table.state == OPEN)

    # Reading

    def scan(
        self,
        collection_number: int,
        low: bytes,
        high: bytes,
        reverse: bool = False,
        limit: int = -1,
        skipped: KeyCondition | None = None,
    ) -> Iterator[tuple[bytes, int]]:
        """Yield the keys from `low` up to but not including `high` in order, with their sizes. -1 means no limit.

        Keys that meet the condition `skipped` are left out.
        """
        select = self._parts if self._reads_in_parts else self._select
        return select(collection_number, low, high, reverse, limit, skipped)

    def _parts(
        self, collection_number: int, low: bytes, high: bytes, reverse: bool, limit: int, skipped: KeyCondition | None
    ) -> Iterator[tuple[bytes, int]]:
        size = _FIRST_PART
        while limit:
            size = size if limit < 0 else min(size, limit)
            part = list(self._select(collection_number, low, high, reverse, size, skipped))
            yield from part
            if len(part) < size:
                return
            last, _ = part[-1]
            low, high = (low, last) if reverse else (last + b"\0", high)
            limit -= size if limit > 0 else 0
            size = min(2 * size, _MAX_PART)

    def _select(
        self, collection_number: int, low: bytes, high: bytes, reverse: bool, limit: int, skipped: KeyCondition | None
    ) -> Iterator[tuple[bytes, int]]:
        lows = list(self._lows(collection_number, low))
        if not lows:
            return iter(())
        skip, skip_parameters = ("", ()) if skipped is None else (f" AND NOT ({skipped.sql})", skipped.parameters)
        sql = _ordered(tuple(name for name, _ in lows), reverse, skip)
        parameters = [value for _, first in lows for value in (collection_number, first, high, *skip_parameters)]
        return self._connection.execute(sql, (*parameters, limit))

    def count(self, collection_number: int, low: bytes, high: bytes) -> int:
        """Return the number of keys from `low` up to but not including `high`."""
        lows = list(self._lows(collection_number, low))
        parameters = [value for _, first in lows for value in (collection_number, first, high)]
        return self._number(_sum_of_counts(tuple(name for name, _ in lows)), parameters)

    def count_up_to(self, collection_number: int, low: bytes, high: bytes, limit: int) -> int:
        """Return the number of keys from `low` up to but not including `high`, or `limit` if there are more."""
        found = 0
        for name, first in self._lows(collection_number, low):
            if found < limit:
                found += self._number(_COUNT_UP_TO.format(name), (collection_number, first, high, limit - found))
        return found

    def count_keys(self, collection_number: int, keys: Sequence[bytes]) -> int:
        """Return how many of the keys exist."""
        lows = list(self._lows(collection_number, b""))
        found = 0
        for start in range(0, len(keys), MAX_KEYS):
            part = keys[start : start + MAX_KEYS]
            parameters, missing = padded(part), len(part)
            marks = ", ".join("?" * len(parameters))
            for name, first in reversed(lows):
                if missing:  # all entries of a document are often in one table
                    missing -= self._number(_COUNT_KEYS.format(name, marks), (collection_number, first, *parameters))
            found += len(part) - missing
        return found

    def keys(self, collection_number: int) -> Iterator[bytes]:
        """Yield all keys of a collection, table by table."""
        for name, first in self._lows(collection_number, b""):
            for (key,) in self._connection.execute(_KEYS.format(name), (collection_number, first)):
                yield key

    def first_key(self, collection_number: int, low: bytes) -> bytes | None:
        """Return the first key at or after `low`, or None."""
        return next((key for key, _ in self.scan(collection_number, low, AFTER_ALL, limit=1)), None)

    def ending_with(self, collection_number: int, end: bytes) -> dict[bytes, int]:
        """Return the keys that lead to one document, by a search in all keys of its collection."""
        found: dict[bytes, int] = {}
        for name, first in self._lows(collection_number, b""):
            parameters = collection_number, first, len(end), end
            found.update(self._connection.execute(_WITH_PATH.format(name), parameters))
        return found

    def rows(self) -> Iterator[Entry]:
        """Yield all entries."""
        numbers = {n for table in self.tables for (n,) in self._connection.execute(_NUMBERS.format(table.name))}
        for number in sorted(numbers):
            for key, size in self.scan(number, b"", AFTER_ALL):
                yield number, key, size

    def _lows(self, collection_number: int, low: bytes) -> Iterator[tuple[str, bytes]]:
        """Yield the name of each table with visible keys at or after `low`, and a lower bound of these keys."""
        for name, target in self._merges:
            if target is None or collection_number > target.collection_number:
                yield name, low
            elif collection_number == target.collection_number:
                yield name, max(low, target.position + b"\0")

    def _number(self, sql: str, parameters: Sequence[Any]) -> int:
        return int(self._connection.execute(sql, parameters).fetchone()[0])

    # Writing

    def add(self, rows: Sequence[Entry]) -> None:
        """Add entries, sorted by key. None of the entries may exist."""
        self._connection.executemany(_INSERT.format(self.open_table.name), rows)

    def add_missing(self, collection_number: int, entries: Sequence[tuple[bytes, int]]) -> None:
        """Add entries, sorted by key. Skip entries that exist."""
        lows = list(self._lows(collection_number, b""))
        exists = " OR ".join(_EXISTS.format(name, number) for number, (name, _) in enumerate(lows, 4))
        firsts = [first for _, first in lows]
        rows = [(collection_number, key, size, *firsts) for key, size in entries]
        self._connection.executemany(_INSERT_MISSING.format(self.open_table.name, exists), rows)

    def delete(self, keys: Sequence[tuple[int, bytes]]) -> None:
        """Delete entries, each given by collection number and key."""
        for table in self.tables:
            self._connection.executemany(_DELETE.format(table.name), keys)

    def delete_range(self, collection_number: int, low: bytes, high: bytes, limit: int) -> int:
        """Delete about `limit` of the keys from `low` up to but not including `high`. Return their number."""
        deleted = 0
        for table in self.tables:
            bounds = collection_number, low, high, limit
            (last,) = self._connection.execute(_LAST_KEYS.format(table.name), bounds).fetchone()
            if last is not None:
                keys = collection_number, low, last
                deleted += self._connection.execute(_DELETE_KEYS.format(table.name), keys).rowcount
        return deleted


@lru_cache(maxsize=256)
def _ordered(names: tuple[str, ...], reverse: bool, skip: str) -> str:
    """Return the statement that merges a range of several tables. `skip` is a further condition of each table."""
    order = "DESC" if reverse else "ASC"
    ranges = (_RANGE.format(name, skip) for name in names)
    return f"{' UNION ALL '.join(ranges)} ORDER BY key {order} LIMIT ?"


@lru_cache(maxsize=256)
def _sum_of_counts(names: tuple[str, ...]) -> str:
    """Return the statement that counts the keys in a range of several tables."""
    return f"SELECT 0{''.join(f' + ({_COUNT.format(name)})' for name in names)}"
