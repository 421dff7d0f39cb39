"""Events that were given up after failing for as long as the retention: kept, listed, sent again.

This works on a connection to the file of the embedded Firestore, whether its server runs or not: a
running server looks for events to send again every few seconds.
"""

import json
import sqlite3
from collections.abc import Collection
from datetime import UTC, datetime
from typing import NamedTuple

from infra.embedded.eventarc.deliveries import HOLDER
from infra.embedded.firestore.storage import change_consumers

MAX_LISTED = 1_000


class DeadLetter(NamedTuple):
    """An event that was given up, and why."""

    trigger: str
    sequence: int
    name: str
    commit_time: int
    attempts: int
    problem: str

    @property
    def written(self) -> datetime:
        """When the document was written."""
        return datetime.fromtimestamp(self.commit_time / 1_000_000, UTC)


def listed(connection: sqlite3.Connection, trigger: str | None, limit: int) -> list[DeadLetter]:
    """Return the oldest dead letters of a trigger, or of all."""
    rows = connection.execute(
        "SELECT trigger, sequence, name, commit_time, attempts, problem FROM eventarc_failed"
        " WHERE dead AND (?1 IS NULL OR trigger = ?1) ORDER BY sequence LIMIT ?2",
        (trigger, limit),
    )
    return [DeadLetter(*row) for row in rows]


def send_again(connection: sqlite3.Connection, trigger: str | None, sequences: Collection[int]) -> int:
    """Let dead letters start anew: those of these sequences, or all; return how many."""
    cursor = connection.execute(
        "UPDATE eventarc_failed SET dead = 0, attempts = 0, first_failure = 0, due = 0"
        " WHERE dead AND (?1 IS NULL OR trigger = ?1)"
        " AND (?2 OR sequence IN (SELECT value FROM json_each(?3)))",
        (trigger, not sequences, json.dumps(list(sequences))),
    )
    return cursor.rowcount


def forget(connection: sqlite3.Connection, trigger: str) -> bool:
    """Take a trigger's place and its failed events away; return whether it was there. For a stopped server."""
    connection.execute("DELETE FROM eventarc_failed WHERE trigger = ?", (trigger,))
    return change_consumers.release(connection, HOLDER + trigger)


def has_triggers(connection: sqlite3.Connection) -> bool:
    """Tell whether deliveries were ever kept in this file."""
    row = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'eventarc_failed'").fetchone()
    return row is not None
