"""The durable state of delivery: a cursor per trigger, and a row for each event that failed.

Every event up to the cursor is acknowledged or has a row. One transaction writes the cursor and the rows. After a
crash, each unacknowledged event therefore has a row, is after the cursor, or both.

The cursor is registered as a consumer of the change feed, so changes after the cursor are not pruned. A row stores
the whole change, so the cursor can move past an event that always fails.
"""

import math
import sqlite3
from collections.abc import Collection, Mapping

from infra.embedded.firestore.storage import change_consumers
from infra.embedded.firestore.storage.storage import Change, Storage

CONSUMER_PREFIX = "eventarc/"  # followed by the name of the trigger

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS eventarc_failed (
    trigger TEXT NOT NULL, sequence INTEGER NOT NULL, commit_time INTEGER NOT NULL, name TEXT NOT NULL,
    old BLOB, new BLOB, attempts INTEGER NOT NULL, first_failure REAL NOT NULL, problem TEXT NOT NULL,
    dead INTEGER NOT NULL, due REAL NOT NULL, UNIQUE (trigger, sequence)
)""",
    "CREATE INDEX IF NOT EXISTS eventarc_due ON eventarc_failed (trigger, dead, due)",
)

_SAVE = """
INSERT OR REPLACE INTO eventarc_failed
(trigger, sequence, commit_time, name, old, new, attempts, first_failure, problem, dead, due)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_LOAD = """
SELECT sequence, commit_time, name, old, new, attempts, first_failure, problem
FROM eventarc_failed WHERE trigger = ? AND sequence = ?
"""

Row = tuple[str, int, int, str, bytes | None, bytes | None, int, float, str, bool, float]


class Delivery:
    """An event that is not acknowledged yet, with the history of its attempts."""

    __slots__ = ("attempts", "change", "due", "first_failure", "has_row", "in_flight", "is_dead", "problem", "started")

    def __init__(self, change: Change) -> None:
        """Create a delivery without attempts."""
        self.change = change
        self.attempts = 0  # failed attempts only
        self.first_failure = 0.0  # seconds since the epoch
        self.problem = ""
        self.is_dead = False
        self.due = 0.0  # seconds since the epoch
        self.has_row = False
        self.in_flight = True  # queued or being sent
        self.started = 0.0  # on the monotonic clock; 0 unless the event is being sent

    def __lt__(self, other: "Delivery") -> bool:
        return self.change.sequence < other.change.sequence

    @property
    def size(self) -> int:
        """The size of the old and the new document, in bytes."""
        return len(self.change.old or b"") + len(self.change.new or b"")

    def row(self, trigger: str) -> Row:
        """Return the row of this event for the table of failed events."""
        change = self.change
        return (
            trigger, change.sequence, change.commit_time, change.name, change.old, change.new,
            self.attempts, self.first_failure, self.problem, self.is_dead, self.due,
        )  # fmt: skip


async def prepare(storage: Storage, triggers: Collection[str]) -> list[str]:
    """Create the tables; return the triggers that have a cursor in the file but are not in `triggers`.

    The cursors of these triggers stay in the file. If such a trigger is configured again, its events are delivered.
    """

    def work(connection: sqlite3.Connection) -> set[str]:
        for statement in SCHEMA:
            connection.execute(statement)
        return {name.removeprefix(CONSUMER_PREFIX) for name in change_consumers.names(connection, CONSUMER_PREFIX)}

    return sorted(await storage.execute(work) - set(triggers))


class Deliveries:
    """The durable state of one trigger."""

    def __init__(self, storage: Storage, trigger: str) -> None:
        """Prepare the state of `trigger`. Call `prepare`, then `open`, before other methods."""
        self._storage = storage
        self._trigger = trigger

    async def open(self) -> int:
        """Return the cursor. A new trigger starts after the last change.

        Failed events become due at once, because the function may have been repaired in the meantime.
        """
        last_sequence = self._storage.snapshot().sequence

        def work(connection: sqlite3.Connection) -> int:
            connection.execute("UPDATE eventarc_failed SET due = 0 WHERE trigger = ? AND NOT dead", (self._trigger,))
            return change_consumers.register(connection, CONSUMER_PREFIX + self._trigger, last_sequence)

        return await self._storage.execute(work)

    async def save(self, cursor: int, changed_rows: Mapping[int, Delivery | None]) -> None:
        """Write the cursor and the changed rows, keyed by sequence, in one transaction. None deletes a row."""
        rows = [delivery.row(self._trigger) for delivery in changed_rows.values() if delivery is not None]
        deleted = [(self._trigger, sequence) for sequence, delivery in changed_rows.items() if delivery is None]

        def work(connection: sqlite3.Connection) -> None:
            change_consumers.advance(connection, CONSUMER_PREFIX + self._trigger, cursor)
            connection.executemany(_SAVE, rows)
            connection.executemany("DELETE FROM eventarc_failed WHERE trigger = ? AND sequence = ?", deleted)

        await self._storage.execute(work)

    async def due(self, now: float, limit: int, excluded: Collection[int]) -> tuple[list[Delivery], float]:
        """Return up to `limit` failed events that are due, and the time when the next event is due.

        Events whose sequence is in `excluded` are skipped. Times are in seconds since the epoch. The time is infinity
        if no other event is stored.
        """

        def work(connection: sqlite3.Connection) -> tuple[list[Delivery], float]:
            deliveries: list[Delivery] = []
            for sequence, due in connection.execute(
                "SELECT sequence, due FROM eventarc_failed WHERE trigger = ? AND NOT dead ORDER BY due",
                (self._trigger,),
            ):
                if sequence in excluded:
                    continue
                if due > now or len(deliveries) == limit:
                    return deliveries, due
                row = connection.execute(_LOAD, (self._trigger, sequence)).fetchone()
                deliveries.append(_delivery(*row))
            return deliveries, math.inf

        return await self._storage.read(work)


def _delivery(
    sequence: int,
    commit_time: int,
    name: str,
    old: bytes | None,
    new: bytes | None,
    attempts: int,
    first_failure: float,
    problem: str,
) -> Delivery:
    delivery = Delivery(Change(sequence, commit_time, name, old, new))
    delivery.attempts, delivery.first_failure, delivery.problem = attempts, first_failure, problem
    delivery.has_row = True
    return delivery
