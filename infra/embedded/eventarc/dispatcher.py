"""The dispatcher runs the subscriptions of all triggers."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Iterable
from functools import partial

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from infra.embedded.eventarc import undelivered
from infra.embedded.eventarc.delivery import deliveries
from infra.embedded.eventarc.delivery.subscription import Subscription
from infra.embedded.eventarc.trigger import Trigger
from infra.embedded.firestore.errors import disk_failure
from infra.embedded.firestore.storage import change_consumers
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.python_command import python_command

OPEN_RETRY_SECONDS = 0.5

logger = logging.getLogger("eventarc")


class Dispatcher:
    """One subscription per trigger."""

    def __init__(self, storage: Storage, triggers: Iterable[Trigger]) -> None:
        """Create the subscriptions. Call `open`, then `run`, to deliver events."""
        self._storage = storage
        self._subscriptions = {trigger.name: Subscription(storage, trigger) for trigger in triggers}
        self._is_open = False

    async def open(self) -> None:
        """Register every trigger in the change feed, so that later writes are delivered.

        The triggers of the first start after an import also receive the imported documents. If the disk refuses the
        necessary writes, `run` tries again.
        """
        problem = await self._try_open()
        if problem is not None:
            logger.warning("event delivery starts as soon as the disk accepts writes: %s", problem)

    async def _try_open(self) -> sqlite3.OperationalError | None:
        """Register every trigger. Return None, or the failure of the disk that prevents this."""
        try:
            await self._open()
        except sqlite3.OperationalError as error:
            if disk_failure(error) is None:
                raise
            return error
        self._is_open = True
        return None

    async def _open(self) -> None:
        for name in await deliveries.prepare(self._storage, self._subscriptions.keys()):
            logger.warning(
                "trigger %s is not configured any more; its events are stored until you run `%s forget %s --data %s`",
                name,
                python_command("infra.embedded.eventarc"),
                name,
                self._storage.path,
            )
        for subscription in self._subscriptions.values():
            await subscription.open()
        if self._subscriptions:
            await self._storage.execute(change_consumers.end_import)

    async def metrics(self) -> list[Metric]:
        """Return the metrics of waiting events."""
        now = time.time()
        statuses = await self._storage.read(partial(undelivered.statuses, triggers=list(self._subscriptions)))
        events = GaugeMetricFamily(
            "eventarc_events", "Events that are not acknowledged, by trigger and state.", labels=["trigger", "state"]
        )
        ages = GaugeMetricFamily(
            "eventarc_oldest_event_age_seconds",
            "Age of the oldest event that is not delivered and not a dead letter, in seconds, by trigger.",
            labels=["trigger"],
        )
        for status in statuses:
            counts = {"pending": self._subscriptions[status.trigger].pending} | status.states
            for state, count in counts.items():
                events.add_metric([status.trigger, state], count)
            age = 0.0 if status.oldest is None else max(0.0, now - status.oldest / 1_000_000)
            ages.add_metric([status.trigger], round(age, 3))
        return [events, ages]

    async def run(self) -> None:
        """Deliver until cancelled. Cancel this method before the storage is closed."""
        while not self._is_open:
            await asyncio.sleep(OPEN_RETRY_SECONDS)
            await self._try_open()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.Event().wait())  # `run` does not return, even without triggers
            for subscription in self._subscriptions.values():
                tasks.create_task(subscription.run())
