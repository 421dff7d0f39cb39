"""A subscription sends the events of one trigger, from the change feed to the function.

The event reader reads the change feed into the fair queue. The sender takes events from the queue. The recorder saves
the outcomes. Failed events return to the queue when they are due. Suspects are sent alone.
"""

import asyncio

from infra.embedded.eventarc.delivery.delivery_store import DeliveryStore
from infra.embedded.eventarc.delivery.event_reader import EventReader, EventSelection
from infra.embedded.eventarc.delivery.fair_queue import FairQueue
from infra.embedded.eventarc.delivery.recorder import Recorder
from infra.embedded.eventarc.delivery.retries import Retries
from infra.embedded.eventarc.delivery.sender import Sender
from infra.embedded.eventarc.delivery.suspect_sender import SuspectSender
from infra.embedded.eventarc.trigger import Trigger
from infra.embedded.firestore.storage.storage import Storage


class Subscription:
    """Delivers the events of one trigger."""

    def __init__(self, storage: Storage, trigger: Trigger) -> None:
        """Prepare the subscription. Call `open`, then `run`, to deliver events."""
        self._selection = EventSelection(trigger)
        self._store = DeliveryStore(storage, trigger.name, trigger.document)
        self._queue = FairQueue(trigger.concurrency)
        self._reader = EventReader(storage, trigger.name, self._selection, self._queue)
        self._recorder = Recorder(trigger, self._store, self._queue, self._reader)
        self._sender = Sender(trigger, self._selection, self._queue, self._recorder)
        self._retries = Retries(self._store, self._queue, self._recorder)
        self._suspect_sender = SuspectSender(self._store, self._queue, self._recorder, self._sender)

    @property
    def pending(self) -> int:
        """The number of events that were read and not acknowledged, and that have not failed."""
        return self._queue.pending

    async def open(self) -> None:
        """Register the trigger in the change feed."""
        progress = await self._store.open(self._selection.group)
        self._reader.start_at(*progress)
        self._recorder.start_at(progress)

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for part in (self._reader, self._sender, self._retries, self._suspect_sender, self._recorder):
                    tasks.create_task(part.run())
        finally:
            await self._recorder.save_at_end()
