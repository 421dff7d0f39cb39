"""The dispatcher runs the subscriptions of all triggers."""

import asyncio
import logging
from collections.abc import Iterable

from infra.embedded.eventarc.delivery import deliveries
from infra.embedded.eventarc.delivery.subscription import Subscription
from infra.embedded.eventarc.trigger import Trigger
from infra.embedded.firestore.storage import change_consumers
from infra.embedded.firestore.storage.storage import Storage

logger = logging.getLogger("eventarc")


class Dispatcher:
    """One subscription per trigger."""

    def __init__(self, storage: Storage, triggers: Iterable[Trigger]) -> None:
        """Create the subscriptions. Call `open`, then `run`, to deliver events."""
        self._storage = storage
        self._subscriptions = {trigger.name: Subscription(storage, trigger) for trigger in triggers}

    async def open(self) -> None:
        """Register every trigger in the change feed, so that later writes are delivered.

        The triggers of the first start after an import also receive the imported documents.
        """
        for name in await deliveries.prepare(self._storage, self._subscriptions.keys()):
            logger.warning(
                "trigger %s is not configured any more; its events are stored until you run "
                "`python -m infra.embedded.eventarc forget %s`",
                name,
                name,
            )
        for subscription in self._subscriptions.values():
            await subscription.open()
        if self._subscriptions:
            await self._storage.execute(change_consumers.end_import)

    async def run(self) -> None:
        """Deliver until cancelled. Cancel this method before the storage is closed."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.Event().wait())  # `run` does not return, even without triggers
            for subscription in self._subscriptions.values():
                tasks.create_task(subscription.run())
