"""Undelivered events: they failed, wait in quarantine, are given up, or are dead letters.

The functions of this module use a connection to the data file of the embedded Firestore. The server may run.
"""

import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from infra.embedded.eventarc.delivery.delivery import State
from infra.embedded.eventarc.delivery.delivery_store import CONSUMER_PREFIX
from infra.embedded.firestore.storage import change_consumers

MAX_LISTED = 1_000

_LIST = """
SELECT trigger, sequence, name, commit_time, state, attempts, crashes, problem FROM eventarc_undelivered
WHERE (?1 IS NULL OR trigger = ?1) AND (?2 IS NULL OR name = ?2) AND (?3 IS NULL OR state = ?3)
ORDER BY sequence LIMIT ?4
"""


class UndeliveredEvent(NamedTuple):
    """An event that was sent and not acknowledged. `problem` describes the last failed attempt."""

    trigger: str
    sequence: int
    name: str
    commit_time: int
    state: str
    attempts: int
    crashes: int
    problem: str

    @property
    def written_at(self) -> datetime:
        """The commit time of the write."""
        return datetime.fromtimestamp(self.commit_time / 1_000_000, UTC)


class Status(NamedTuple):
    """The progress of the delivery of the events of a trigger."""

    trigger: str
    changes: int
    """The number of changes after the first event that is not delivered and has not failed. Some changes cause no
    event.
    """
    states: dict[str, int]
    """The number of undelivered events by state."""
    oldest: int | None
    """The commit time of the oldest event that is not delivered, except dead letters, in microseconds."""


def read(
    connection: sqlite3.Connection, trigger: str | None = None, document: str | None = None, state: str | None = None
) -> list[UndeliveredEvent]:
    """Return the oldest undelivered events, at most `MAX_LISTED`. Each argument that is not None is a filter."""
    return [UndeliveredEvent(*row) for row in connection.execute(_LIST, (trigger, document, state, MAX_LISTED))]


def statuses(connection: sqlite3.Connection, triggers: Iterable[str] | None = None) -> list[Status]:
    """Return the status of these triggers, or of all triggers in the file."""
    if triggers is None:
        names = change_consumers.names(connection, CONSUMER_PREFIX)
        triggers = sorted(name.removeprefix(CONSUMER_PREFIX) for name in names)
    return [_status(connection, trigger) for trigger in triggers]


def _status(connection: sqlite3.Connection, trigger: str) -> Status:
    states = dict.fromkeys(map(str, State), 0)
    rows = connection.execute(
        "SELECT state, count(*) FROM eventarc_undelivered WHERE trigger = ? GROUP BY state", (trigger,)
    )
    states |= dict(rows.fetchall())
    (cursor,) = connection.execute(
        "SELECT sequence FROM change_consumers WHERE name = ?", (CONSUMER_PREFIX + trigger,)
    ).fetchone() or (0,)
    row = connection.execute("SELECT sequence FROM eventarc_positions WHERE trigger = ?", (trigger,)).fetchone()
    position = max(cursor, row[0]) if row else cursor
    (last,) = connection.execute("SELECT max(sequence) FROM versions").fetchone()
    waiting = connection.execute("SELECT 1 FROM eventarc_groups WHERE trigger = ? LIMIT 1", (trigger,)).fetchone()
    first = cursor if waiting else position  # without waiting groups, all events up to the position are delivered
    oldest = [
        connection.execute(
            "SELECT min(commit_time) FROM eventarc_undelivered WHERE trigger = ? AND state <> 'dead'", (trigger,)
        ).fetchone(),
        connection.execute(
            "SELECT commit_time FROM versions WHERE sequence > ? ORDER BY sequence LIMIT 1", (first,)
        ).fetchone(),
    ]
    times = [row[0] for row in oldest if row is not None and row[0] is not None]
    return Status(trigger, max(0, (last or 0) - first), states, min(times, default=None))
