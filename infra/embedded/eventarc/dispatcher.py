"""All triggers at work: changes not yet delivered become POST requests."""

import asyncio
from collections.abc import Iterable

from infra.embedded.eventarc.subscription import Subscription
from infra.embedded.eventarc.trigger import Trigger
from infra.embedded.firestore.storage import Storage


async def deliver(storage: Storage, triggers: Iterable[Trigger]) -> None:
    """Deliver the events of all triggers until cancelled; end it before the storage is closed."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(asyncio.Event().wait())  # until cancelled, with no trigger too
        for trigger in triggers:
            tasks.create_task(Subscription(storage, trigger).run())
