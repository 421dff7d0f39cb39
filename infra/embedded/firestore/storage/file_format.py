"""The tables of the SQLite file, and the upgrade of files from earlier releases of this server.

`versions` contains every version of every document, in commit order, so it is also the stored change feed. Rows are
added and later pruned, but not updated. `documents` points to the current version of each path. `history` points to
each superseded version, by the time when a newer version replaced it. `entries` contains the index entries, in key
order.
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
    """Upgrade an older file and create missing tables."""
    _rename_tables(connection)
    _drop_old_composite_indexes(connection)
    connection.executescript(SCHEMA)


def _rename_tables(connection: sqlite3.Connection) -> None:
    """Rename the tables `kinds` and `holders` and the columns `kind` of older files."""
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
    """Drop the composite indexes of an older file, whose entries have another format. The server builds them again."""
    columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(composites)")}
    if not columns or "entries" in columns:
        return
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("DELETE FROM entries WHERE key >= ? AND key < ?", entries.COMPOSITE_KEYS)
    connection.execute("DROP TABLE composites")
    connection.execute("COMMIT")
