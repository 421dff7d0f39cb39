"""Dead letters: events that failed for longer than the retention. They are stored until they are resent or discarded.

The functions of this module use a connection to the data file of the embedded Firestore. The server may run, except
during `forget`. A running server checks for resent events every 2 seconds.
"""

import json
import sqlite3
from collections.abc import Collection

from infra.embedded.eventarc.delivery.delivery_store import CONSUMER_PREFIX
from infra.embedded.firestore.storage import change_consumers


def resend(connection: sqlite3.Connection, trigger: str | None, sequences: Collection[int]) -> int:
    """Schedule dead letters to be sent again. Return their number.

    `sequences` selects dead letters. If it is empty, all are selected. If `trigger` is set, only its dead letters are
    selected.
    """
    cursor = connection.execute(
        "UPDATE eventarc_undelivered SET state = iif(crashes, 'quarantined', 'retrying'),"
        " attempts = 0, crashes = 0, notices = 0, first_failure = 0, due = 0"
        " WHERE state = 'dead' AND (?1 IS NULL OR trigger = ?1)"
        " AND (?2 OR sequence IN (SELECT value FROM json_each(?3)))",
        (trigger, not sequences, json.dumps(list(sequences))),
    )
    return cursor.rowcount


def discard(connection: sqlite3.Connection, trigger: str | None, sequences: Collection[int]) -> int:
    """Delete the dead letters `sequences`, with the documents in them. Return their number.

    If `trigger` is set, only its dead letters are deleted.
    """
    cursor = connection.execute(
        "DELETE FROM eventarc_undelivered"
        " WHERE state = 'dead' AND (?1 IS NULL OR trigger = ?1) AND sequence IN (SELECT value FROM json_each(?2))",
        (trigger, json.dumps(list(sequences))),
    )
    return cursor.rowcount


def forget(connection: sqlite3.Connection, trigger: str) -> bool:
    """Delete the cursor, the failed events and the dead letters of a trigger. Return whether the trigger had a cursor.

    The server must be stopped.
    """
    for table in ("eventarc_undelivered", "eventarc_positions", "eventarc_groups"):
        connection.execute(f"DELETE FROM {table} WHERE trigger = ?", (trigger,))  # noqa: S608 - the tables are constants
    return change_consumers.remove(connection, CONSUMER_PREFIX + trigger)


def has_triggers(connection: sqlite3.Connection) -> bool:
    """Return whether the file contains the tables of event delivery."""
    row = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'eventarc_undelivered'").fetchone()
    return row is not None
