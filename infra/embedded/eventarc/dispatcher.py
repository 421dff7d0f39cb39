"""All triggers at work: changes not yet delivered become POST requests."""

import asyncio
import logging
from collections.abc import Iterable

from infra.embedded.eventarc import deliveries
from infra.embedded.eventarc.subscription import Subscription
from infra.embedded.eventarc.trigger import Trigger
from infra.embedded.firestore.storage.storage import Storage

logger = logging.getLogger("eventarc")


class Dispatcher:
    """The subscriptions of all triggers."""

    def __init__(self, storage: Storage, triggers: Iterable[Trigger]) -> None:
        """`open` comes first, then `run`."""
        self._storage = storage
        self._subscriptions = {trigger.name: Subscription(storage, trigger) for trigger in triggers}

    async def open(self) -> None:
        """Take every trigger's place in the change feed: what is written from here on is delivered."""
        for absent in await deliveries.prepare(self._storage, self._subscriptions.keys()):
            logger.warning("%s: the trigger is not given any more; its events are kept until it is forgotten", absent)
        for subscription in self._subscriptions.values():
            await subscription.open()

    async def run(self) -> None:
        """Deliver until cancelled; to be ended before the storage is closed."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.Event().wait())  # until cancelled, with no trigger too
            for subscription in self._subscriptions.values():
                tasks.create_task(subscription.run())
