"""The background task that prunes old versions and deletes expired documents."""

import asyncio
import logging

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
    while True:
        storage.clock.log_if_ahead()
        await asyncio.sleep(INTERVAL_SECONDS)
        try:
            await prune(storage)
            for collection_id, field in storage.indexes.definitions.ttl_fields.items():
                await delete_expired(storage, collection_id, field)
            storage.reserve.create()
        except Exception as error:
            if disk_failure(error) is None:  # the writer has logged a failure of the disk
                logger.exception("Maintenance failed; retrying in %s seconds", INTERVAL_SECONDS)
