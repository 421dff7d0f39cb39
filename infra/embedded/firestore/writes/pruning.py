"""Pruning: deletes document versions that no read can need any more.

A superseded version is deleted if two conditions are met. It was superseded longer ago than the version retention time,
and all change consumers have processed the change that superseded it.

Commit times can be hours ahead, because the machine's clock was ahead and was set back. By their commit times, versions
would then be deleted hours late, and the file would grow. A version is therefore also deleted if this process has run
for the version retention time since the version was superseded.
"""

import sqlite3
from collections import deque
from collections.abc import Callable
from functools import partial

from infra.embedded.firestore.storage import change_consumers
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.storage.versions import sequence_at
from runtime.elapsed_time import elapsed

MAX_CHANGES_PER_STEP = 500

_CHANGES = """
SELECT sequence, commit_time, previous, collection_number, path, document IS NULL FROM versions
WHERE sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?
"""


class OldChanges:
    """The changes that are older than the version retention time, measured from when this process has seen them."""

    def __init__(self, retention_seconds: float, elapsed: Callable[[], int] = elapsed) -> None:
        self._retention = int(retention_seconds * 1_000_000)
        self._elapsed = elapsed
        self._seen: deque[tuple[int, int]] = deque()
        self._last = 0

    def last(self, newest: int) -> int:
        """Return the last old sequence, or 0. `newest` is the sequence of the latest change."""
        now = self._elapsed()
        self._seen.append((now, newest))
        while self._seen and self._seen[0][0] <= now - self._retention:
            _, self._last = self._seen.popleft()
        return self._last


async def prune(storage: Storage, last_old: int = 0) -> None:
    """Delete all versions that can be deleted now, in steps, so that other writes run in between.

    Changes up to the sequence `last_old` are old enough, even if their commit times are later.
    """
    oldest = storage.steady_clock.now() - int(storage.version_retention_seconds * 1_000_000)
    last = max(await storage.read(lambda connection: sequence_at(connection, oldest - 1)), last_old)
    after = -1
    while after < storage.pruned_sequence < last:
        after = storage.pruned_sequence
        storage.pruned_sequence = await storage.execute(partial(_prune_step, after=after, last=last))


def _prune_step(connection: sqlite3.Connection, after: int, last: int) -> int:
    """Prune the changes after the sequence `after`, and return the last sequence that was pruned."""
    last = min(last, change_consumers.min_position(connection, last))
    changes = connection.execute(_CHANGES, (after, last, MAX_CHANGES_PER_STEP)).fetchall()
    if not changes:
        return after
    pruned = int(changes[-1][0])
    # Keep the newest pruned change, even if it is a deletion. Its commit time is the limit for past reads. As long as
    # it exists, no new change can get its sequence.
    deletable = [(previous,) for _, _, previous, _, _, _ in changes if previous is not None]
    deletable += [(sequence,) for sequence, _, _, _, _, is_deletion in changes if is_deletion and sequence < pruned]
    history = [(number, path, until) for _, until, previous, number, path, _ in changes if previous is not None]
    connection.executemany("DELETE FROM history WHERE collection_number = ? AND path = ? AND until = ?", history)
    connection.executemany("DELETE FROM versions WHERE sequence = ?", deletable)
    connection.execute("DELETE FROM versions WHERE sequence = ? AND document IS NULL", (after,))  # kept until now
    connection.execute("INSERT OR REPLACE INTO settings VALUES ('pruned', ?)", (pruned,))
    return pruned
