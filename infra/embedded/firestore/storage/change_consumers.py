"""Change consumers: named positions in the change feed. For example, event delivery is a change consumer.

Changes after the lowest position are not pruned. A consumer updates its position in the same transaction as its own
rows. The position of a consumer that does not run stays in the file until `remove` is called.

After an import, new consumers start before the imported documents, until `end_import` is called.
"""

import sqlite3


def register(connection: sqlite3.Connection, name: str, sequence: int) -> int:
    """Return the position of a consumer. A new consumer starts at `sequence`, or before imported documents."""
    if connection.execute("SELECT 1 FROM settings WHERE name = 'imported'").fetchone():
        sequence = 0
    connection.execute("INSERT OR IGNORE INTO change_consumers VALUES (?, ?)", (name, sequence))
    row = connection.execute("SELECT sequence FROM change_consumers WHERE name = ?", (name,)).fetchone()
    return int(row[0])


def begin_import(connection: sqlite3.Connection) -> None:
    """Let consumers that register later start before all documents. Call this for an empty file."""
    connection.execute("INSERT OR REPLACE INTO settings VALUES ('imported', 1)")


def end_import(connection: sqlite3.Connection) -> None:
    """Let consumers that register later start at the sequence that they request."""
    connection.execute("DELETE FROM settings WHERE name = 'imported'")


def advance(connection: sqlite3.Connection, name: str, sequence: int) -> None:
    """Store that a consumer has processed every change up to `sequence`."""
    connection.execute("UPDATE change_consumers SET sequence = ? WHERE name = ?", (sequence, name))


def remove(connection: sqlite3.Connection, name: str) -> bool:
    """Remove a consumer, so that its changes can be pruned. Return whether the consumer existed."""
    return connection.execute("DELETE FROM change_consumers WHERE name = ?", (name,)).rowcount > 0


def names(connection: sqlite3.Connection, prefix: str) -> list[str]:
    """Return the names of consumers that start with `prefix`."""
    rows = connection.execute("SELECT name FROM change_consumers WHERE substr(name, 1, ?) = ?", (len(prefix), prefix))
    return [name for (name,) in rows]


def min_position(connection: sqlite3.Connection, default: int) -> int:
    """Return the lowest position of all consumers, or `default` if there are none."""
    (position,) = connection.execute("SELECT min(sequence) FROM change_consumers").fetchone()
    return default if position is None else int(position)
