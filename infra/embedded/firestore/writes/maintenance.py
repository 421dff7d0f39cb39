"""The background task that prunes old versions, deletes expired documents, and saves the time of the steady clock."""

import asyncio
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import grpc

from infra.embedded.firestore.errors import StatusError, disk_failure, is_damage
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes.pruning import OldChanges, prune
from infra.embedded.firestore.writes.time_to_live import delete_expired

INTERVAL_SECONDS = 5.0

logger = logging.getLogger(__name__)


async def run_maintenance(storage: Storage) -> None:
    """Prune and delete expired documents every INTERVAL_SECONDS, until cancelled.

    The first run starts after one interval, because change consumers must register before the first pruning. If a step
    fails, the others still run: a damaged page can stop the pruning, but not the deletion of expired documents.
    """
    saved_sequence = 0
    old_changes = OldChanges(storage.version_retention_seconds)
    while True:
        storage.clock.log_if_ahead()
        await asyncio.sleep(INTERVAL_SECONDS)
        with _logged_failure():
            await prune(storage, old_changes.last(storage.snapshot().sequence))
        for collection_id, field in storage.indexes.definitions.ttl_fields.items():
            with _logged_failure():
                await delete_expired(storage, collection_id, field)
        with _logged_failure():
            storage.reserve.create()
            if (sequence := storage.snapshot().sequence) > saved_sequence:  # without changes, the disk stays idle
                await storage.execute(partial(_save_time, time=storage.steady_clock.now()))
                saved_sequence = sequence


@contextmanager
def _logged_failure() -> Iterator[None]:
    """Log a failure, and continue. The writer and the read check have logged damage, and failures of the disk."""
    try:
        yield
    except Exception as error:
        is_logged = isinstance(error, StatusError) and error.code is grpc.StatusCode.UNAVAILABLE
        if not is_logged and disk_failure(error) is None and not is_damage(error):
            logger.exception("Maintenance failed; retrying in %s seconds", INTERVAL_SECONDS)


def _save_time(connection: sqlite3.Connection, time: int) -> None:
    connection.execute("INSERT OR REPLACE INTO settings (name, value) VALUES ('steady_clock', ?)", (time,))
