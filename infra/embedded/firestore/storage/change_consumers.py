"""Who follows the changes, and how far each has come: what one of them has not seen is not pruned.

A holder moves in the same transaction as its own bookkeeping, and stays in the file when it does not run:
whatever is started without it, and in whatever order, its changes wait until it comes back or is released.
"""

import sqlite3


def register(connection: sqlite3.Connection, name: str, sequence: int) -> int:
    """Return how far a holder has come; one that is new has come to `sequence`."""
    connection.execute("INSERT OR IGNORE INTO change_consumers VALUES (?, ?)", (name, sequence))
    row = connection.execute("SELECT sequence FROM change_consumers WHERE name = ?", (name,)).fetchone()
    return int(row[0])


def move(connection: sqlite3.Connection, name: str, sequence: int) -> None:
    """Note that a holder needs no change up to `sequence` any more."""
    connection.execute("UPDATE change_consumers SET sequence = ? WHERE name = ?", (sequence, name))


def release(connection: sqlite3.Connection, name: str) -> bool:
    """Keep nothing for a holder any more; return whether anything was."""
    return connection.execute("DELETE FROM change_consumers WHERE name = ?", (name,)).rowcount > 0


def named(connection: sqlite3.Connection, beginning: str) -> list[str]:
    """Return the names of holders that begin like this."""
    rows = connection.execute(
        "SELECT name FROM change_consumers WHERE substr(name, 1, ?) = ?", (len(beginning), beginning)
    )
    return [name for (name,) in rows]


def seen_by_all(connection: sqlite3.Connection, otherwise: int) -> int:
    """Return the last sequence that every holder has come to; `otherwise` if there is no holder."""
    (least,) = connection.execute("SELECT min(sequence) FROM change_consumers").fetchone()
    return otherwise if least is None else int(least)
