"""The tables of the SQLite file, and the upgrade of files that an earlier release of this server wrote.

`versions` is append-only: it holds the bodies of documents and is the change feed at the same time. `documents` points
to the current version of each path. `history` points to each superseded version, by the time until which it was
current. `entries` holds the index entries, keys that sort as queries read them.
"""

import sqlite3

from infra.embedded.firestore.indexes import entries

SCHEMA = """
CREATE TABLE IF NOT EXISTS collections (
    number INTEGER PRIMARY KEY, database TEXT NOT NULL, collection_id TEXT NOT NULL,
    UNIQUE (database, collection_id)
);
CREATE TABLE IF NOT EXISTS versions (
    sequence INTEGER PRIMARY KEY, commit_time INTEGER NOT NULL, previous INTEGER,
    collection_number INTEGER NOT NULL, path BLOB NOT NULL,
    document BLOB -- NULL: the document was deleted
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
CREATE TABLE IF NOT EXISTS composites (
    id INTEGER PRIMARY KEY, definition TEXT NOT NULL UNIQUE,
    entries INTEGER NOT NULL, -- the id that the keys of its entries contain
    complete INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS change_consumers (name TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
"""


def prepare(connection: sqlite3.Connection) -> None:
    """Upgrade an older file and create the tables that are missing."""
    _rename_tables(connection)
    _drop_old_composite_indexes(connection)
    connection.executescript(SCHEMA)


def _rename_tables(connection: sqlite3.Connection) -> None:
    """Rename the tables and columns that were called kinds, kind and holders."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'kinds'").fetchone():
        return
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("ALTER TABLE kinds RENAME TO collections")
    connection.execute("ALTER TABLE collections RENAME COLUMN id TO number")
    for table in ("versions", "documents", "history", "entries"):
        connection.execute(f"ALTER TABLE {table} RENAME COLUMN kind TO collection_number")
    connection.execute("ALTER TABLE holders RENAME TO change_consumers")
    connection.execute("COMMIT")


def _drop_old_composite_indexes(connection: sqlite3.Connection) -> None:
    """Drop composite indexes of a file in which each index had entries of its own. They are built again on opening."""
    columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(composites)")}
    if not columns or "entries" in columns:
        return
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("DELETE FROM entries WHERE key >= ? AND key < ?", entries.COMPOSITE_KEYS)
    connection.execute("DROP TABLE composites")
    connection.execute("COMMIT")
