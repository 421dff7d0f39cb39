"""The durable state of delivery: a cursor for each group with pending events, and a row for each undelivered event.

Each event up to the *position* is in one of three states: it is acknowledged, it has a row in `eventarc_undelivered`,
or its group has a cursor in `eventarc_groups` and the event is after this cursor. One transaction writes the position,
the rows and the cursors, so a crash loses no event. After a crash, events are sent again if they were acknowledged
after the last save. In each group, events are also sent again if an earlier event of the group was not acknowledged.

The lowest of these cursors is registered as a consumer of the change feed, so changes after it are not pruned. A row
stores the whole change, so the cursor can move past an event that always fails.

Times in rows are on the monotonic clock of the run that saved them. `prepare` converts them to the current clock. The
time between two runs does not count.
"""

import logging
import math
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from infra.embedded.eventarc.delivery.delivery import Delivery, State
from infra.embedded.firestore.errors import StatusError
from infra.embedded.firestore.storage import change_consumers
from infra.embedded.firestore.storage.commit_group import CommitGroup
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.storage.versions import Change
from infra.embedded.firestore.writes import commits
from infra.embedded.firestore.writes.document_write import PreparedWrite

CONSUMER_PREFIX = "eventarc/"  # followed by the name of the trigger

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS eventarc_undelivered (
    trigger TEXT NOT NULL, sequence INTEGER NOT NULL, commit_time INTEGER NOT NULL, name TEXT NOT NULL,
    old BLOB, new BLOB, group_number INTEGER NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL,
    crashes INTEGER NOT NULL, notices INTEGER NOT NULL, problem TEXT NOT NULL,
    first_failure REAL NOT NULL, saved REAL NOT NULL, due REAL NOT NULL, UNIQUE (trigger, sequence)
)""",
    "CREATE INDEX IF NOT EXISTS eventarc_due ON eventarc_undelivered (trigger, state, group_number, due)",
    "CREATE INDEX IF NOT EXISTS eventarc_documents ON eventarc_undelivered (name)",
    """CREATE TABLE IF NOT EXISTS eventarc_positions (
    trigger TEXT PRIMARY KEY, pattern TEXT NOT NULL, sequence INTEGER NOT NULL
) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS eventarc_groups (
    trigger TEXT NOT NULL, group_number INTEGER NOT NULL, sequence INTEGER NOT NULL, PRIMARY KEY (trigger, group_number)
) WITHOUT ROWID""",
)

_COLUMNS = (
    "sequence, commit_time, name, old, new, group_number, state, attempts, crashes, notices, problem, first_failure"
)
_SAVE = f"""
INSERT OR REPLACE INTO eventarc_undelivered (trigger, {_COLUMNS}, saved, due)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""  # noqa: S608 - the columns are a constant
_LOAD = f"SELECT {_COLUMNS} FROM eventarc_undelivered WHERE trigger = ? AND sequence = ?"  # noqa: S608
_GROUPS = """
WITH RECURSIVE groups (number) AS (
    SELECT min(group_number) FROM eventarc_undelivered WHERE trigger = ?1 AND state = ?2
    UNION ALL
    SELECT (SELECT min(group_number) FROM eventarc_undelivered
            WHERE trigger = ?1 AND state = ?2 AND group_number > number)
    FROM groups WHERE number IS NOT NULL
) SELECT number FROM groups WHERE number IS NOT NULL
"""
_DUE = """
SELECT sequence, due FROM eventarc_undelivered WHERE trigger = ? AND state = ? AND group_number = ? ORDER BY due
"""
_MIGRATE = """
INSERT OR IGNORE INTO eventarc_undelivered
SELECT trigger, sequence, commit_time, name, old, new, 0, iif(dead, 'dead', 'retrying'), attempts, 0, 0, problem,
    0, 0, 0
FROM eventarc_failed
"""
_MAKE_DUE = """
UPDATE eventarc_undelivered SET due = 0, saved = ?1,
    first_failure = iif(attempts, ?1 + min(first_failure - saved, 0), 0)
WHERE trigger = ?2 AND state <> 'dead'
"""

logger = logging.getLogger("eventarc")


class Suspect(NamedTuple):
    """An event in the state QUARANTINED or GIVEN_UP, without its documents."""

    sequence: int
    group: int
    state: str
    crashes: int
    due: float


class Progress(NamedTuple):
    """The progress: all events up to `cursor` are done, and up to `position` except groups in `cursors`."""

    cursor: int
    position: int
    cursors: Mapping[int, int]


async def prepare(storage: Storage, triggers: Collection[str]) -> list[str]:
    """Create the tables, and make the failed events of `triggers` due. Return the other triggers in the file.

    Failed events become due at once, because the function may have been repaired since the last run of the process.
    The cursors of the returned triggers stay in the file. If such a trigger is configured again, its events are
    delivered.
    """
    now = time.monotonic()

    def work(connection: sqlite3.Connection) -> set[str]:
        for statement in SCHEMA:
            connection.execute(statement)
        if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'eventarc_failed'").fetchone():
            connection.execute(_MIGRATE)
            connection.execute("DROP TABLE eventarc_failed")
        connection.executemany(_MAKE_DUE, [(now, trigger) for trigger in triggers])
        return {name.removeprefix(CONSUMER_PREFIX) for name in change_consumers.names(connection, CONSUMER_PREFIX)}

    return sorted(await storage.execute(work) - set(triggers))


class DeliveryStore:
    """The durable state of one trigger."""

    def __init__(self, storage: Storage, trigger: str, pattern: str) -> None:
        """Prepare the state of `trigger`. Call `prepare`, then `open`, before other methods."""
        self._storage = storage
        self._trigger = trigger
        self._pattern = pattern
        self._last_sequence = storage.snapshot().sequence

    async def open(self, group: Callable[[str], int | None]) -> Progress:
        """Return the saved progress. `group` returns a document's group.

        A new trigger starts after the last change before this object was created. Later changes are therefore not lost,
        even if a full disk refuses the first calls of this method.
        """

        def work(connection: sqlite3.Connection) -> Progress:
            cursor = change_consumers.register(connection, CONSUMER_PREFIX + self._trigger, self._last_sequence)
            row = connection.execute(
                "SELECT sequence FROM eventarc_positions WHERE trigger = ? AND pattern = ?",
                (self._trigger, self._pattern),
            ).fetchone()
            if row is None:  # a new trigger, or a new pattern, with which documents have other groups
                self._assign_groups(connection, group)
                connection.execute("DELETE FROM eventarc_groups WHERE trigger = ?", (self._trigger,))
            cursors = connection.execute(
                "SELECT group_number, sequence FROM eventarc_groups WHERE trigger = ?", (self._trigger,)
            )
            return Progress(cursor, cursor if row is None else max(cursor, row[0]), dict(cursors.fetchall()))

        return await self._storage.execute(work)

    def _assign_groups(self, connection: sqlite3.Connection, group: Callable[[str], int | None]) -> None:
        connection.create_function("event_group", 1, lambda name: group(name) or 0, deterministic=True)
        connection.execute(
            "UPDATE eventarc_undelivered SET group_number = event_group(name) WHERE trigger = ?", (self._trigger,)
        )

    async def save(
        self,
        progress: Progress,
        changed_cursors: Mapping[int, int | None],
        changed_rows: Mapping[int, Delivery | None],
        documents: Sequence[PreparedWrite],
    ) -> None:
        """Write the progress, changed cursors and changed rows in one transaction. None deletes a cursor or a row.

        The transaction also stores `documents`, except documents that Firestore refuses.
        """
        now = time.monotonic()
        trigger = self._trigger
        rows = [_row(trigger, delivery, now) for delivery in changed_rows.values() if delivery is not None]
        deleted_rows = [(trigger, sequence) for sequence, delivery in changed_rows.items() if delivery is None]
        cursors = [(trigger, number, cursor) for number, cursor in changed_cursors.items() if cursor is not None]
        deleted_cursors = [(trigger, number) for number, cursor in changed_cursors.items() if cursor is None]

        def work(group: CommitGroup) -> list[StatusError]:
            outcomes = commits.batch_write(group, list(documents), commits.no_conflicts) if documents else []
            connection = group.connection
            change_consumers.advance(connection, CONSUMER_PREFIX + trigger, progress.cursor)
            connection.execute(
                "INSERT OR REPLACE INTO eventarc_positions VALUES (?, ?, ?)",
                (trigger, self._pattern, progress.position),
            )
            connection.executemany("INSERT OR REPLACE INTO eventarc_groups VALUES (?, ?, ?)", cursors)
            connection.executemany(
                "DELETE FROM eventarc_groups WHERE trigger = ? AND group_number = ?", deleted_cursors
            )
            connection.executemany(_SAVE, rows)
            connection.executemany("DELETE FROM eventarc_undelivered WHERE trigger = ? AND sequence = ?", deleted_rows)
            return [error for _, error in outcomes if error is not None]

        for error in await self._storage.write(work):
            logger.warning("%s: cannot store a document that shows failed attempts: %s", trigger, error)

    async def due(
        self,
        now: float,
        limit: int,
        group_limit: int,
        waiting: Mapping[int, int],
        excluded: Collection[int],
        after: int,
    ) -> tuple[list[Delivery], float]:
        """Return up to `limit` failed events that are due, and the time when the next event is due, or infinity.

        Groups take turns, starting with the group after the number `after`. For each group, at most `group_limit`
        events are returned, minus the number of the group in `waiting`. Events whose sequence is in `excluded` are
        skipped.
        """

        def work(connection: sqlite3.Connection) -> tuple[list[Delivery], float]:
            deliveries: list[Delivery] = []
            next_due = math.inf
            groups = [number for (number,) in connection.execute(_GROUPS, (self._trigger, State.RETRYING))]
            for group in sorted(groups, key=lambda number: (number <= after, number)):
                room = min(group_limit - waiting.get(group, 0), limit - len(deliveries))
                for sequence, due in connection.execute(_DUE, (self._trigger, State.RETRYING, group)):
                    if room <= 0:
                        break
                    if sequence in excluded:
                        continue
                    if due > now:
                        next_due = min(next_due, due)
                        break
                    deliveries.append(self._load(connection, sequence))
                    room -= 1
            return deliveries, next_due

        return await self._storage.read(work)

    async def suspects(self, limit: int) -> list[Suspect]:
        """Return up to `limit` events in the states QUARANTINED and GIVEN_UP, ordered by crashes and sequence."""

        def work(connection: sqlite3.Connection) -> list[Suspect]:
            rows = connection.execute(
                "SELECT sequence, group_number, state, crashes, due FROM eventarc_undelivered"
                " WHERE trigger = ? AND state IN (?, ?) ORDER BY crashes, sequence LIMIT ?",
                (self._trigger, State.QUARANTINED, State.GIVEN_UP, limit),
            )
            return [Suspect(*row) for row in rows]

        return await self._storage.read(work)

    async def load(self, sequence: int) -> Delivery:
        """Return the event of a row."""
        return await self._storage.read(lambda connection: self._load(connection, sequence))

    def _load(self, connection: sqlite3.Connection, sequence: int) -> Delivery:
        row = connection.execute(_LOAD, (self._trigger, sequence)).fetchone()
        _, commit_time, name, old, new, group, state, attempts, crashes, notices, problem, first_failure = row
        delivery = Delivery(Change(sequence, commit_time, name, old, new), group)
        delivery.state = State(state)
        delivery.attempts, delivery.crashes, delivery.notices = attempts, crashes, notices
        delivery.problem, delivery.first_failure = problem, first_failure
        delivery.has_row = True
        return delivery


def _row(trigger: str, delivery: Delivery, now: float) -> tuple[object, ...]:
    change = delivery.change
    return (
        trigger, change.sequence, change.commit_time, change.name, change.old, change.new, delivery.group,
        delivery.state, delivery.attempts, delivery.crashes, delivery.notices, delivery.problem,
        delivery.first_failure, now, delivery.due,
    )  # fmt: skip
