"""The tables of the SQLite file, its format version, and the upgrade of files from earlier releases of this server.

`versions` contains every version of every document, in commit order, so it is also the stored change feed. Rows are
added and later pruned, but not updated. `documents` points to the current version of each path. `history` points to
each superseded version, by the time when a newer version replaced it. `entries` contains index entries, in key order.
Further tables also contain index entries: see indexes/entry_tables.py.

`PRAGMA user_version` is the format version. It is 0 in files of releases that did not store a version. The format of
these files is called version 1. An upgrade takes little time for a file of any size: it changes only the definitions of
tables. Index builds do the rest of the work while the server runs.
"""

import ast
import json
import sqlite3
import uuid
from pathlib import Path

from infra.embedded.firestore.encoding.field_paths import FieldPath
from infra.embedded.firestore.indexes.definitions import Definitions, FieldModes
from infra.embedded.firestore.indexes.entry_tables import CLOSED, OPEN, create_table
from infra.embedded.firestore.indexes.index_builds import FIELD_DEFINITIONS
from infra.embedded.python_command import python_command

FORMAT_VERSION = 3

FEW_ENTRIES = 6_000
UPGRADED_LEVEL = 4
"""The level of the entries of a file without entry tables, as for several hundred thousand entries or more."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS collections (
    number INTEGER PRIMARY KEY, database TEXT NOT NULL, collection_id TEXT NOT NULL,
    UNIQUE (database, collection_id)
);
CREATE TABLE IF NOT EXISTS versions (
    sequence INTEGER PRIMARY KEY, commit_time INTEGER NOT NULL, previous INTEGER,
    collection_number INTEGER NOT NULL, path BLOB NOT NULL,
    document BLOB, -- NULL: the document was deleted
    checksum INTEGER -- NULL: the document was deleted, or written by a release without checksums
);
CREATE TABLE IF NOT EXISTS documents (
    collection_number INTEGER NOT NULL, path BLOB NOT NULL, version INTEGER NOT NULL,
    PRIMARY KEY (collection_number, path)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (
    collection_number INTEGER NOT NULL, path BLOB NOT NULL, until INTEGER NOT NULL, version INTEGER NOT NULL,
    PRIMARY KEY (collection_number, path, until)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (
    collection_number INTEGER NOT NULL, key BLOB NOT NULL,
    size INTEGER NOT NULL, -- bytes of the path at the end of the key
    PRIMARY KEY (collection_number, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entry_tables ( -- `entries`, and the tables `entries_NUMBER`
    number INTEGER PRIMARY KEY, -- 0: `entries`
    state TEXT NOT NULL, level INTEGER NOT NULL, target INTEGER,
    collection_number INTEGER NOT NULL, position BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS composites (
    id INTEGER PRIMARY KEY, definition TEXT NOT NULL UNIQUE,
    entries INTEGER NOT NULL, -- the id that the keys of its entries contain
    complete INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS dropped_composites ( -- entries that are not deleted yet
    entries INTEGER PRIMARY KEY, collection_id TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS index_builds (
    collection_id TEXT PRIMARY KEY,
    earlier TEXT NOT NULL, -- JSON: the field definitions of earlier starts since the last finished build
    target TEXT NOT NULL, -- identifies what is built
    is_cleared INTEGER NOT NULL, -- whether the entries of removed indexes are deleted
    collection_number INTEGER NOT NULL, position BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS change_consumers (name TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
"""


class UnusableFile(Exception):
    """The data file cannot be used. The message names the file and the problem, and says what to do."""


def create_log(connection: sqlite3.Connection, path: Path) -> None:
    """Let SQLite use a write-ahead log. Raise `UnusableFile` if the file system does not allow this."""
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise UnusableFile(
            f"{path} cannot have a write-ahead log, because its file system has no shared memory: move the data to a "
            "local disk"
        )


def prepare(connection: sqlite3.Connection, version: int) -> None:
    """Create the tables of a new file (version 0), or upgrade an older file."""
    if version == FORMAT_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if version:
            _rename_tables(connection)
            _drop_old_composite_indexes(connection)
        for statement in SCHEMA.split(";\n"):
            connection.execute(statement)
        _add_entry_tables(connection)
        if version:
            _add_checksums(connection)
            _convert_field_definitions(connection)
        connection.execute("INSERT OR IGNORE INTO settings VALUES ('database_id', ?)", (uuid.uuid4().hex,))
        connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def database_id(connection: sqlite3.Connection) -> str:
    """Return the identity of a database. Copies have the same identity. Return "" for older files, which have none."""
    row = connection.execute("SELECT value FROM settings WHERE name = 'database_id'").fetchone()
    return "" if row is None else str(row[0])


def format_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the format version of a file, or 0 for a new file. Raise `UnusableFile` if the file cannot be read."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if version > FORMAT_VERSION:
        raise UnusableFile(
            f"{path} was written by a newer release: it has format version {version}, and this release reads versions "
            f"up to {FORMAT_VERSION}. Install that release again. Or restore the copy that it made before the upgrade: "
            f"{python_command('infra.embedded.firestore.archive')} restore COPY --data {path}"
        )
    if tables and "versions" not in tables:
        raise UnusableFile(f"{path} is an SQLite database of another program: use another file with --data")
    return version or int(bool(tables))


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")}


def _rename_tables(connection: sqlite3.Connection) -> None:
    """Rename the tables `kinds` and `holders` and the columns `kind` of older files."""
    if not _columns(connection, "kinds"):
        return
    connection.execute("ALTER TABLE kinds RENAME TO collections")
    connection.execute("ALTER TABLE collections RENAME COLUMN id TO number")
    for table in ("versions", "documents", "history", "entries"):
        connection.execute(f"ALTER TABLE {table} RENAME COLUMN kind TO collection_number")
    connection.execute("ALTER TABLE holders RENAME TO change_consumers")


def _drop_old_composite_indexes(connection: sqlite3.Connection) -> None:
    """Drop the composite indexes of an older file, whose entries have another format. Index builds replace them."""
    columns = _columns(connection, "composites")
    if not columns or "entries" in columns:
        return
    rows = connection.execute("SELECT id, definition FROM composites").fetchall()
    connection.execute("DROP TABLE composites")
    connection.execute("CREATE TABLE dropped_composites (entries INTEGER PRIMARY KEY, collection_id TEXT NOT NULL)")
    connection.executemany(
        "INSERT INTO dropped_composites VALUES (?, ?)",
        [(number, json.loads(definition)["collectionGroup"]) for number, definition in rows],
    )


def _add_entry_tables(connection: sqlite3.Connection) -> None:
    """Keep the entries of an older file in their table. If the table has many entries, add a table for new entries."""
    (few,) = connection.execute("SELECT count(*) FROM (SELECT 1 FROM entries LIMIT ?)", (FEW_ENTRIES,)).fetchone()
    is_open = few < FEW_ENTRIES
    state, level = (OPEN, 0) if is_open else (CLOSED, UPGRADED_LEVEL)
    connection.execute("INSERT INTO entry_tables VALUES (0, ?, ?, NULL, 0, x'')", (state, level))
    if not is_open:
        create_table(connection, 1)
        connection.execute("INSERT INTO entry_tables VALUES (1, ?, 0, NULL, 0, x'')", (OPEN,))


def _add_checksums(connection: sqlite3.Connection) -> None:
    if "checksum" not in _columns(connection, "versions"):
        connection.execute("ALTER TABLE versions ADD COLUMN checksum INTEGER")


def _convert_field_definitions(connection: sqlite3.Connection) -> None:
    """Convert the field definitions of the last start, which format version 1 stored as Python literals."""
    row = connection.execute("SELECT value FROM settings WHERE name = 'overrides'").fetchone()
    if row is None:
        return
    converted = {}
    for collection_id, parts in json.loads(row[0]).items():
        overrides: dict[tuple[str, FieldPath], FieldModes] = {}
        ttl_fields: dict[str, FieldPath] = {}
        for part in parts:
            first, second = ast.literal_eval(part)
            if first == "ttl":
                ttl_fields[collection_id] = second
            else:
                overrides[collection_id, first] = frozenset(map(tuple, second))
        found = Definitions(field_overrides=overrides, ttl_fields=ttl_fields)
        converted[collection_id] = found.fields_to_json(collection_id)
    connection.execute("DELETE FROM settings WHERE name = 'overrides'")
    connection.execute("INSERT INTO settings VALUES (?, ?)", (FIELD_DEFINITIONS, json.dumps(converted)))
