"""What has been delivered, durably: a trigger's cursor, and a row for each event that failed.

Every event up to the cursor is acknowledged or has a row, and cursor and rows are written in one
transaction: whatever instant the process is killed at, an event is behind the cursor, or in a row, or
both, and never in neither. The cursor is a holder of the change feed, so that nothing behind it is
pruned; a row holds the whole change, so that a poisoned event or a dead letter holds up nothing.
"""

import math
import sqlite3
from collections.abc import Collection, Mapping

from infra.embedded.firestore.storage import change_consumers
from infra.embedded.firestore.storage.storage import Change, Storage

HOLDER = "eventarc/"  # and the name of the trigger

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
    """An event on its way: its change, and how often it failed."""

    __slots__ = ("attempts", "change", "dead", "due", "first_failure", "has_row", "problem", "started", "under_way")

    def __init__(self, change: Change) -> None:
        """Nothing was tried yet."""
        self.change = change
        self.attempts = 0
        self.first_failure = 0.0
        self.problem = ""
        self.dead = False
        self.due = 0.0
        self.has_row = False
        self.under_way = True  # in the queue, or being sent
        self.started = 0.0  # on the monotonic clock; 0 while it is not being sent

    def __lt__(self, other: "Delivery") -> bool:
        return self.change.sequence < other.change.sequence

    @property
    def size(self) -> int:
        """The bytes of its documents."""
        return len(self.change.old or b"") + len(self.change.new or b"")

    def row(self, trigger: str) -> Row:
        """Return what is kept of it."""
        change = self.change
        return (
            trigger, change.sequence, change.commit_time, change.name, change.old, change.new,
            self.attempts, self.first_failure, self.problem, self.dead, self.due,
        )  # fmt: skip


async def prepare(storage: Storage, triggers: Collection[str]) -> list[str]:
    """Make the tables; return the triggers in the file that are not among those given.

    Their events wait, as long as nobody takes their cursors away: a start without them loses nothing.
    """

    def work(connection: sqlite3.Connection) -> set[str]:
        for statement in SCHEMA:
            connection.execute(statement)
        return {name.removeprefix(HOLDER) for name in change_consumers.named(connection, HOLDER)}

    return sorted(await storage.execute(work) - set(triggers))


class Deliveries:
    """The bookkeeping of one trigger."""

    def __init__(self, storage: Storage, trigger: str) -> None:
        """`prepare` comes first, then `open`."""
        self._storage = storage
        self._trigger = trigger

    async def open(self) -> int:
        """Return the cursor; a trigger that is new starts with what is written from now on.

        After a restart whatever failed is due at once: who knows what has been mended meanwhile.
        """
        now = self._storage.snapshot().sequence

        def work(connection: sqlite3.Connection) -> int:
            connection.execute("UPDATE eventarc_failed SET due = 0 WHERE trigger = ? AND NOT dead", (self._trigger,))
            return change_consumers.register(connection, HOLDER + self._trigger, now)

        return await self._storage.execute(work)

    async def save(self, cursor: int, booked: Mapping[int, Delivery | None]) -> None:
        """Move the cursor, together with the rows of those that failed; None takes a row away."""
        rows = [delivery.row(self._trigger) for delivery in booked.values() if delivery is not None]
        gone = [(self._trigger, sequence) for sequence, delivery in booked.items() if delivery is None]

        def work(connection: sqlite3.Connection) -> None:
            change_consumers.move(connection, HOLDER + self._trigger, cursor)
            connection.executemany(_SAVE, rows)
            connection.executemany("DELETE FROM eventarc_failed WHERE trigger = ? AND sequence = ?", gone)

        await self._storage.execute(work)

    async def due(self, now: float, limit: int, besides: Collection[int]) -> tuple[list[Delivery], float]:
        """Return up to `limit` events to send again now, and when to ask for the next ones."""

        def work(connection: sqlite3.Connection) -> tuple[list[Delivery], float]:
            found: list[Delivery] = []
            for sequence, due in connection.execute(
                "SELECT sequence, due FROM eventarc_failed WHERE trigger = ? AND NOT dead ORDER BY due",
                (self._trigger,),
            ):
                if sequence in besides:
                    continue
                if due > now or len(found) == limit:
                    return found, due
                row = connection.execute(_LOAD, (self._trigger, sequence)).fetchone()
                found.append(_delivery(*row))
            return found, math.inf

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
