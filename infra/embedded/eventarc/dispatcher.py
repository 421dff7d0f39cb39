"""The dispatcher runs the subscriptions of all triggers."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Iterable, Iterator
from functools import partial

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from infra.embedded.eventarc import undelivered
from infra.embedded.eventarc.delivery import delivery_store
from infra.embedded.eventarc.delivery.subscription import Subscription
from infra.embedded.eventarc.trigger import Trigger
from infra.embedded.firestore.errors import StatusError, disk_failure, is_damage
from infra.embedded.firestore.storage import change_consumers
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.python_command import python_command

RETRY_SECONDS = 5.0  # after the data file could not be read or written

logger = logging.getLogger("eventarc")


class Dispatcher:
    """One subscription per trigger."""

    def __init__(self, storage: Storage, triggers: Iterable[Trigger]) -> None:
        """Create the subscriptions. Call `open`, then `run`, to deliver events."""
        self._storage = storage
        self._triggers = {trigger.name: trigger for trigger in triggers}
        self._subscriptions = {name: Subscription(storage, trigger) for name, trigger in self._triggers.items()}
        self._is_open = False

    async def open(self) -> None:
        """Register every trigger in the change feed, so that later writes are delivered.

        The triggers of the first start after an import also receive the imported documents. If the data file cannot be
        read or written, `run` tries again.
        """
        try:
            await self._open()
        except (sqlite3.Error, StatusError) as error:
            if not _is_of_data_file(error):
                raise
            logger.error(  # noqa: TRY400 - the trace says nothing more
                "cannot start event delivery; trying again in %g s: %s", RETRY_SECONDS, error
            )
        else:
            self._is_open = True

    async def _open(self) -> None:
        for name in await delivery_store.prepare(self._storage, self._subscriptions.keys()):
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
            await asyncio.sleep(RETRY_SECONDS)
            await self.open()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.Event().wait())  # `run` does not return, even without triggers
            for name in self._triggers:
                tasks.create_task(self._deliver(name))

    async def _deliver(self, name: str) -> None:
        """Deliver the events of a trigger until cancelled.

        If the disk cannot read the data file, or if a page is damaged, start again from the saved state. Requests of
        clients continue.
        """
        while True:
            try:
                await self._subscriptions[name].open()
                await self._subscriptions[name].run()
            except* (sqlite3.Error, StatusError) as group:
                problems = list(_errors(group))
                if not all(map(_is_of_data_file, problems)):
                    raise
                logger.error(  # noqa: TRY400 - the trace says nothing more
                    "%s: cannot read the data file; trying again in %g s: %s", name, RETRY_SECONDS, problems[0]
                )
            await asyncio.sleep(RETRY_SECONDS)
            self._subscriptions[name] = Subscription(self._storage, self._triggers[name])


def _errors(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors of a group, which can contain other groups."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _errors(each)
    else:
        yield error


def _is_of_data_file(error: BaseException) -> bool:
    """Return whether the disk or a damaged page is the cause of an error."""
    return isinstance(error, StatusError) or (
        isinstance(error, Exception) and (is_damage(error) or disk_failure(error) is not None)
    )
