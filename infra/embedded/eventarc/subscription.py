"""The events of one trigger, from the change feed to the function, each until it is acknowledged.

Workers take events from a window of bounded size; an acknowledged one leaves it, one that failed gets a
row of its own (see deliveries) and leaves it too, so that a poisoned event stands in nobody's way. What
takes long gets a row while it is under way, so that the cursor does not wait for it.
The trap is a function that is down: as soon as one connection is refused the workers stop, one probe
stands for all that wait, and when it succeeds everything goes on at full speed.
"""

import asyncio
import contextlib
import logging
import math
import sqlite3
import time
from asyncio import PriorityQueue
from random import random

from infra.embedded.eventarc import cloudevent
from infra.embedded.eventarc.deliveries import Deliveries, Delivery
from infra.embedded.eventarc.http import Unreachable
from infra.embedded.eventarc.path_patterns import Pattern
from infra.embedded.eventarc.push import Push
from infra.embedded.eventarc.trigger import Trigger
from infra.embedded.firestore.storage.storage import Change, Storage

WINDOW_EVENTS = 1_000
WINDOW_BYTES = 32 * 1024 * 1024
READ_AT_ONCE = 50  # a change may have two documents of a megabyte
BOOK_SECONDS = 0.1
SLOW_SECONDS = 1.0
STORAGE_PAUSE_SECONDS = 1.0
TELL_SECONDS = 1.0
LOOK_AGAIN_SECONDS = 2.0  # another process may have sent dead letters again
FIRST_PROBE_SECONDS = 0.05
MAX_PROBE_SECONDS = 0.5

logger = logging.getLogger("eventarc")


class Subscription:
    """One trigger at work."""

    def __init__(self, storage: Storage, trigger: Trigger) -> None:
        """`open` comes first, then `run`."""
        self._storage = storage
        self._trigger = trigger
        self._pattern = Pattern(trigger.document)
        self._push = Push(trigger)
        self._deliveries = Deliveries(storage, trigger.name)
        self._queue: PriorityQueue[Delivery] = PriorityQueue()
        self._position = 0  # how far the feed has been read
        self._saved = 0  # the cursor on disk
        self._window: dict[int, Delivery] = {}  # read, and neither acknowledged nor in a row; in order
        self._window_bytes = 0
        self._room = asyncio.Event()
        self._booked: dict[int, Delivery | None] = {}  # rows to write, or (None) to take away
        self._unsaved = asyncio.Event()
        self._claimed: set[int] = set()  # rows not to be sent again now: under way, or about to be written
        self._retrying: set[int] = set()
        self._max_retrying = max(1, trigger.concurrency // 2)  # the rest is for events that never failed
        self._next_due = 0.0
        self._due_changed = asyncio.Event()
        self._reachable = asyncio.Event()
        self._reachable.set()
        self._unreachable = asyncio.Event()
        self._unreachable_since = 0.0
        self._probe_seconds = FIRST_PROBE_SECONDS
        self._untold = 0
        self._told = -math.inf

    async def open(self) -> None:
        """Take the trigger's place in the change feed."""
        self._position = self._saved = await self._deliveries.open()

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read())
                tasks.create_task(self._retry())
                tasks.create_task(self._book())
                tasks.create_task(self._probe())
                for _ in range(self._trigger.concurrency):
                    tasks.create_task(self._work())
        finally:
            self._push.address.close()
            await self._save()  # so that the next start repeats as little as possible

    async def _read(self) -> None:
        while True:
            while len(self._window) >= WINDOW_EVENTS or self._window_bytes >= WINDOW_BYTES:
                self._room.clear()
                await self._room.wait()
            published = self._storage.snapshot().sequence
            changes = await self._storage.changes(self._position, READ_AT_ONCE)
            if not changes:
                self._position = max(self._position, published)
                await self._storage.next_change(self._position)
            for change in changes:
                self._position = change.sequence
                if self._wants(change):
                    delivery = Delivery(change)
                    self._window[change.sequence] = delivery
                    self._window_bytes += delivery.size
                    self._queue.put_nowait(delivery)
            self._unsaved.set()

    def _wants(self, change: Change) -> bool:
        _, database, path = cloudevent.split_name(change.name)
        return (
            self._trigger.kind in (cloudevent.WRITTEN, cloudevent.kind(change))
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
                self._lose(error)
                continue
            except Exception as error:  # noqa: BLE001 - one event must never end the delivery of all
                problem = f"it cannot be sent: {error!r}"
            self._reached()
            delivery.under_way = False
            if problem is None:
                self._acknowledged(delivery)
            else:
                self._failed(delivery, problem)
            self._unsaved.set()

    async def _send(self, delivery: Delivery) -> str | None:
        if delivery.has_row and not self._wants(delivery.change):  # of an earlier start, with another trigger
            return "the trigger has changed and is not about this any more"
        return await self._push.send(delivery.change, delivery.attempts)

    def _acknowledged(self, delivery: Delivery) -> None:
        self._leave(delivery.change.sequence)
        if delivery.has_row:
            self._booked[delivery.change.sequence] = None

    def _failed(self, delivery: Delivery, problem: str) -> None:
        now = time.time()
        delivery.attempts += 1
        delivery.first_failure = delivery.first_failure or now
        delivery.problem = problem
        delivery.due = now + self._trigger.backoff.seconds(delivery.attempts, random())
        delivery.dead = now - delivery.first_failure >= self._trigger.retention_seconds
        delivery.has_row = True
        self._booked[delivery.change.sequence] = delivery
        if delivery.dead:
            logger.error("%s: %s is a dead letter: %s", self._trigger.name, delivery.change.name, problem)
        else:
            self._tell(delivery.change.name, problem)

    def _leave(self, sequence: int) -> None:
        delivery = self._window.pop(sequence, None)
        if delivery is not None:
            self._window_bytes -= delivery.size
            self._room.set()
        elif sequence in self._retrying:
            self._retrying.discard(sequence)
            if len(self._retrying) <= self._max_retrying // 2:
                self._due_changed.set()

    async def _book(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SLOW_SECONDS if self._window else None):
                    await self._unsaved.wait()
            await asyncio.sleep(BOOK_SECONDS)
            self._unsaved.clear()
            try:
                await self._save()
            except sqlite3.Error:
                logger.exception("%s: deliveries cannot be noted; trying again", self._trigger.name)
                self._unsaved.set()
                await asyncio.sleep(STORAGE_PAUSE_SECONDS)

    async def _save(self) -> None:
        self._book_slow_ones()
        booked, self._booked = self._booked, {}
        cursor = next((sequence - 1 for sequence in self._window if sequence not in booked), self._position)
        if not booked and cursor == self._saved:
            return
        self._claimed.update(booked)
        try:
            await self._deliveries.save(cursor, booked)
        except BaseException:
            self._booked = booked | self._booked
            raise
        self._saved = cursor
        for sequence, delivery in booked.items():
            self._leave(sequence)
            if sequence in self._booked or (delivery is not None and delivery.under_way):
                continue
            self._claimed.discard(sequence)
            if delivery is not None and not delivery.dead and delivery.due < self._next_due:
                self._due_changed.set()

    def _book_slow_ones(self) -> None:
        latest = time.monotonic() - SLOW_SECONDS
        for sequence, delivery in self._window.items():
            if delivery.under_way and 0 < delivery.started < latest and not delivery.has_row:
                delivery.has_row = True
                self._booked[sequence] = delivery

    async def _retry(self) -> None:
        while True:
            self._due_changed.clear()
            self._next_due = math.inf
            limit = self._max_retrying - len(self._retrying)
            if limit > 0:
                claimed = frozenset(self._claimed)
                found, self._next_due = await self._deliveries.due(time.time(), limit, claimed)
                for delivery in found:
                    self._claimed.add(delivery.change.sequence)
                    self._retrying.add(delivery.change.sequence)
                    self._queue.put_nowait(delivery)
            pause = min(self._next_due - time.time(), LOOK_AGAIN_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._due_changed.wait()

    async def _probe(self) -> None:
        while True:
            await self._unreachable.wait()
            await asyncio.sleep(self._probe_seconds)
            self._probe_seconds = min(self._probe_seconds * 1.5, MAX_PROBE_SECONDS)
            with contextlib.suppress(Unreachable):
                await self._push.address.probe()
                self._unreachable.clear()
                self._reachable.set()

    def _lose(self, error: Unreachable) -> None:
        self._reachable.clear()
        self._unreachable.set()
        if not self._unreachable_since:
            self._unreachable_since = time.monotonic()
            logger.warning("%s: events wait, nobody answers: %s", self._trigger.name, error)

    def _reached(self) -> None:
        if self._unreachable_since:
            seconds = time.monotonic() - self._unreachable_since
            logger.warning("%s: answers again after %.1f s", self._trigger.name, seconds)
            self._unreachable_since = 0.0
            self._probe_seconds = FIRST_PROBE_SECONDS

    def _tell(self, name: str, problem: str) -> None:
        """Log that events failed, once a second at most."""
        self._untold += 1
        now = time.monotonic()
        if now - self._told >= TELL_SECONDS:
            logger.warning("%s: %d failed, the last is %s: %s", self._trigger.name, self._untold, name, problem)
            self._untold, self._told = 0, now
