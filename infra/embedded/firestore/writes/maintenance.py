"""The background task that prunes old versions, deletes expired documents, and saves the time of the steady clock."""

import asyncio
import logging
import sqlite3
from functools import partial

from infra.embedded.firestore.errors import disk_failure
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes.pruning import prune
from infra.embedded.firestore.writes.time_to_live import delete_expired

INTERVAL_SECONDS = 5.0

logger = logging.getLogger(__name__)


async def run_maintenance(storage: Storage) -> None:
    """Prune and delete expired documents every INTERVAL_SECONDS, until cancelled.

    The first run starts after one interval, because change consumers must register before the first pruning.
    """
    saved_sequence = 0
    while True:
        storage.clock.log_if_ahead()
        await asyncio.sleep(INTERVAL_SECONDS)
        try:
            await prune(storage)
            for collection_id, field in storage.indexes.definitions.ttl_fields.items():
                await delete_expired(storage, collection_id, field)
            storage.reserve.create()
            if (sequence := storage.snapshot().sequence) > saved_sequence:  # without changes, the disk stays idle
                await storage.execute(partial(_save_time, time=storage.steady_clock.now()))
                saved_sequence = sequence
        except Exception as error:
            if disk_failure(error) is None:  # the writer has logged a failure of the disk
                logger.exception("Maintenance failed; retrying in %s seconds", INTERVAL_SECONDS)


def _save_time(connection: sqlite3.Connection, time: int) -> None:
    connection.execute("INSERT OR REPLACE INTO settings (name, value) VALUES ('steady_clock', ?)", (time,))
