"""A subscription sends the events of one trigger, from the change feed to the function.

Workers take events from a window of limited size. An acknowledged event leaves the window. A failed event
gets a row in the file (see `deliveries`) and also leaves the window, so it does not delay other events. An event
that is in flight for more than a second gets a row too, so that the cursor can move past this event.

If no connection to the function can be opened, all workers pause and one probe tests the address. When the probe
succeeds, all workers continue.
"""

import asyncio
import contextlib
import logging
import math
import sqlite3
import time
from asyncio import PriorityQueue
from random import random

from infra.embedded.backoff import Backoff
from infra.embedded.eventarc import cloudevent
from infra.embedded.eventarc.deliveries import Deliveries, Delivery
from infra.embedded.eventarc.http_client import Unreachable
from infra.embedded.eventarc.path_patterns import Pattern
from infra.embedded.eventarc.push import Push
from infra.embedded.eventarc.trigger import Trigger
from infra.embedded.firestore.storage.storage import Change, Storage

MAX_WINDOW_EVENTS = 1_000
MAX_WINDOW_BYTES = 32 * 1024 * 1024
MAX_CHANGES_PER_READ = 50  # a change may hold two documents of 1 MiB
SAVE_SECONDS = 0.1
SLOW_SECONDS = 1.0
STORAGE_RETRY_SECONDS = 1.0
LOG_SECONDS = 1.0
MAX_RETRY_WAIT_SECONDS = 2.0  # check this often, because another process may resend dead letters
PROBE_BACKOFF = Backoff(0.05, 0.5)

logger = logging.getLogger("eventarc")


class Subscription:
    """Delivers the events of one trigger."""

    def __init__(self, storage: Storage, trigger: Trigger) -> None:
        """Prepare the subscription. Call `open`, then `run`, to deliver events."""
        self._storage = storage
        self._trigger = trigger
        self._pattern = Pattern(trigger.document)
        self._push = Push(trigger)
        self._deliveries = Deliveries(storage, trigger.name)
        self._queue: PriorityQueue[Delivery] = PriorityQueue()
        self._position = 0  # the last sequence read from the change feed
        self._saved_cursor = 0
        self._window: dict[int, Delivery] = {}  # by sequence, in order; not acknowledged, and without a saved row
        self._window_bytes = 0
        self._window_shrank = asyncio.Event()
        self._changed_rows: dict[int, Delivery | None] = {}  # to be saved; None deletes the row
        self._has_unsaved = asyncio.Event()
        self._held_rows: set[int] = set()  # sequences of rows not to retry now: in flight or being saved
        self._retrying: set[int] = set()
        self._max_retrying = max(1, trigger.concurrency // 2)  # the other workers send events that never failed
        self._next_due = 0.0
        self._due_changed = asyncio.Event()
        self._reachable = asyncio.Event()
        self._reachable.set()
        self._unreachable = asyncio.Event()
        self._unreachable_since: float | None = None  # on the monotonic clock
        self._probes = 0
        self._unlogged_failures = 0
        self._last_log = -math.inf

    async def open(self) -> None:
        """Register the trigger in the change feed."""
        self._position = self._saved_cursor = await self._deliveries.open()

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read_changes())
                tasks.create_task(self._retry_failed())
                tasks.create_task(self._save_regularly())
                tasks.create_task(self._probe())
                for _ in range(self._trigger.concurrency):
                    tasks.create_task(self._work())
        finally:
            self._push.client.close()
            await self._save()  # so that few events are sent again after the next start

    async def _read_changes(self) -> None:
        while True:
            while len(self._window) >= MAX_WINDOW_EVENTS or self._window_bytes >= MAX_WINDOW_BYTES:
                self._window_shrank.clear()
                await self._window_shrank.wait()
            published = self._storage.snapshot().sequence
            changes = await self._storage.changes(self._position, MAX_CHANGES_PER_READ)
            if not changes:
                self._position = max(self._position, published)
                await self._storage.next_change(self._position)
            for change in changes:
                self._position = change.sequence
                if self._selects(change):
                    delivery = Delivery(change)
                    self._window[change.sequence] = delivery
                    self._window_bytes += delivery.size
                    self._queue.put_nowait(delivery)
            self._has_unsaved.set()

    def _selects(self, change: Change) -> bool:
        _, database, path = cloudevent.split_name(change.name)
        return (
            self._trigger.kind in (cloudevent.WRITTEN, cloudevent.change_kind(change))
            and database == self._trigger.database
            and self._pattern.matches(path)
        )

    async def _work(self) -> None:
        while True:
            delivery = await self._queue.get()
            await self._reachable.wait()
            delivery.started = time.monotonic()
            try:
                problem = await self._send(delivery)
            except Unreachable as error:
                delivery.started = 0.0
                self._queue.put_nowait(delivery)
                self._pause(error)
                continue
            except Exception as error:  # noqa: BLE001 - one event must not stop the delivery of other events
                problem = f"the event cannot be sent: {error!r}"
            self._resume()
            delivery.in_flight = False
            if problem is None:
                self._acknowledge(delivery)
            else:
                self._fail(delivery, problem)
            self._has_unsaved.set()

    async def _send(self, delivery: Delivery) -> str | None:
        if delivery.has_row and not self._selects(delivery.change):  # the trigger may have changed since
            return "the trigger has changed and does not select this event any more"
        return await self._push.send(delivery.change, delivery.attempts)

    def _acknowledge(self, delivery: Delivery) -> None:
        self._remove(delivery.change.sequence)
        if delivery.has_row:
            self._changed_rows[delivery.change.sequence] = None

    def _fail(self, delivery: Delivery, problem: str) -> None:
        now = time.time()
        delivery.attempts += 1
        delivery.first_failure = delivery.first_failure or now
        delivery.problem = problem
        delivery.due = now + self._trigger.backoff.seconds(delivery.attempts, random())
        delivery.is_dead = now - delivery.first_failure >= self._trigger.retention_seconds
        delivery.has_row = True
        self._changed_rows[delivery.change.sequence] = delivery
        if delivery.is_dead:
            logger.error("%s: %s is now a dead letter: %s", self._trigger.name, delivery.change.name, problem)
        else:
            self._log_failure(delivery.change.name, problem)

    def _remove(self, sequence: int) -> None:
        """Remove an event from the window, or from the events that are being retried."""
        delivery = self._window.pop(sequence, None)
        if delivery is not None:
            self._window_bytes -= delivery.size
            self._window_shrank.set()
        elif sequence in self._retrying:
            self._retrying.discard(sequence)
            if len(self._retrying) <= self._max_retrying // 2:
                self._due_changed.set()

    async def _save_regularly(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SLOW_SECONDS if self._window else None):
                    await self._has_unsaved.wait()
            await asyncio.sleep(SAVE_SECONDS)
            self._has_unsaved.clear()
            try:
                await self._save()
            except sqlite3.Error:
                logger.exception("%s: cannot save the state of deliveries; retrying", self._trigger.name)
                self._has_unsaved.set()
                await asyncio.sleep(STORAGE_RETRY_SECONDS)

    async def _save(self) -> None:
        self._add_rows_of_slow_events()
        changed, self._changed_rows = self._changed_rows, {}
        cursor = next((sequence - 1 for sequence in self._window if sequence not in changed), self._position)
        if not changed and cursor == self._saved_cursor:
            return
        self._held_rows.update(changed)
        try:
            await self._deliveries.save(cursor, changed)
        except BaseException:
            self._changed_rows = changed | self._changed_rows
            raise
        self._saved_cursor = cursor
        for sequence, delivery in changed.items():
            self._remove(sequence)
            if sequence in self._changed_rows or (delivery is not None and delivery.in_flight):
                continue
            self._held_rows.discard(sequence)
            if delivery is not None and not delivery.is_dead and delivery.due < self._next_due:
                self._due_changed.set()

    def _add_rows_of_slow_events(self) -> None:
        latest = time.monotonic() - SLOW_SECONDS
        for sequence, delivery in self._window.items():
            if delivery.in_flight and 0 < delivery.started < latest and not delivery.has_row:
                delivery.has_row = True
                self._changed_rows[sequence] = delivery

    async def _retry_failed(self) -> None:
        while True:
            self._due_changed.clear()
            self._next_due = math.inf
            limit = self._max_retrying - len(self._retrying)
            if limit > 0:
                held = frozenset(self._held_rows)
                deliveries, self._next_due = await self._deliveries.due(time.time(), limit, held)
                for delivery in deliveries:
                    self._held_rows.add(delivery.change.sequence)
                    self._retrying.add(delivery.change.sequence)
                    self._queue.put_nowait(delivery)
            wait_seconds = min(self._next_due - time.time(), MAX_RETRY_WAIT_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await self._due_changed.wait()

    async def _probe(self) -> None:
        while True:
            await self._unreachable.wait()
            self._probes += 1
            await asyncio.sleep(PROBE_BACKOFF.seconds(self._probes))
            with contextlib.suppress(Unreachable):
                await self._push.client.probe()
                self._unreachable.clear()
                self._reachable.set()

    def _pause(self, error: Unreachable) -> None:
        self._reachable.clear()
        self._unreachable.set()
        if self._unreachable_since is None:
            self._unreachable_since = time.monotonic()
            logger.warning(
                "%s: cannot reach %s; events wait until this URL is reachable: %s",
                self._trigger.name,
                self._trigger.url,
                error,
            )

    def _resume(self) -> None:
        if self._unreachable_since is not None:
            seconds = time.monotonic() - self._unreachable_since
            logger.warning("%s: %s is reachable again after %.1f s", self._trigger.name, self._trigger.url, seconds)
            self._unreachable_since = None
            self._probes = 0

    def _log_failure(self, name: str, problem: str) -> None:
        """Log the number of failed attempts and the last problem, at most once per `LOG_SECONDS`."""
        self._unlogged_failures += 1
        now = time.monotonic()
        if now - self._last_log >= LOG_SECONDS:
            logger.warning(
                "%s: %d failed attempts, the last for %s: %s",
                self._trigger.name,
                self._unlogged_failures,
                name,
                problem,
            )
            self._unlogged_failures, self._last_log = 0, now
