"""The recorder saves the outcome of attempts and the progress of each group, in one transaction every 0.1 s.

An acknowledged event is removed from the queue. A failed event gets a row and is also removed, so it does not delay
other events. An event that is in flight for more than a second gets a row too, so that the cursor of its group can move
past the event.
"""

import asyncio
import contextlib
import logging
import sqlite3
import time

from infra.embedded.eventarc.delivery.delivery import Delivery
from infra.embedded.eventarc.delivery.delivery_store import DeliveryStore, Progress
from infra.embedded.eventarc.delivery.event_reader import EventReader
from infra.embedded.eventarc.delivery.failed_attempts import FailedAttemptsWriter
from infra.embedded.eventarc.delivery.fair_queue import FairQueue
from infra.embedded.eventarc.delivery.held_rows import HeldRows
from infra.embedded.eventarc.trigger import Trigger
from infra.embedded.firestore.errors import StatusError, disk_failure
from infra.embedded.firestore.writes.document_write import PreparedWrite

SAVE_SECONDS = 0.1
SLOW_SECONDS = 1.0
STORAGE_RETRY_SECONDS = 1.0

logger = logging.getLogger("eventarc")


class Recorder:
    """Saves the state of one trigger."""

    def __init__(self, trigger: Trigger, store: DeliveryStore, queue: FairQueue, reader: EventReader) -> None:
        self.held_rows = HeldRows()
        self.must_save = reader.on_read
        """Set when an outcome or a position may have to be saved."""
        self.on_saved: list[asyncio.Event] = []
        """Set after rows were saved."""
        self._name = trigger.name
        self._failed_attempts_writer = FailedAttemptsWriter(trigger)
        self._store = store
        self._queue = queue
        self._reader = reader
        self._changed_rows: dict[int, Delivery | None] = {}  # to be saved; None deletes the row
        self._documents: dict[str, PreparedWrite] = {}  # to be saved, by name
        self._cursors: dict[int, int] = {}  # by group: as saved
        self._saved = Progress(0, 0, {})
        self._read_before = 0

    def start_at(self, progress: Progress) -> None:
        """Continue after an earlier run."""
        self._saved = progress
        self._cursors = dict(progress.cursors)
        self._read_before = progress.position

    def acknowledge(self, delivery: Delivery) -> None:
        """Record that an event was acknowledged."""
        delivery.is_unsettled = False
        if delivery.has_row:
            self._changed_rows[delivery.sequence] = None
            self._add_document(self._failed_attempts_writer.after_acknowledgement(delivery))
        self._queue.remove(delivery.group, delivery.sequence)
        self.must_save.set()

    def record(self, delivery: Delivery) -> None:
        """Record the outcome of a failed attempt."""
        delivery.is_unsettled = False
        delivery.has_row = True
        self._changed_rows[delivery.sequence] = delivery
        self._add_document(self._failed_attempts_writer.after_failure(delivery))
        self.must_save.set()

    async def run(self) -> None:
        """Save regularly until cancelled."""
        must_save = self.must_save
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SLOW_SECONDS if self._queue.in_flight else None):
                    await must_save.wait()
            await asyncio.sleep(SAVE_SECONDS)
            must_save.clear()
            try:
                await self.save()
            except (sqlite3.Error, StatusError) as error:
                if disk_failure(error) is None:  # the writer has logged a failure of the disk
                    logger.exception("%s: cannot save the state of deliveries; retrying", self._name)
                must_save.set()
                await asyncio.sleep(STORAGE_RETRY_SECONDS)

    async def save_at_end(self) -> None:
        """Save all outcomes so far, so that few events are sent again after the next start.

        This raises no error of the data file: the error or the cancellation that has ended event delivery matters.
        """
        try:
            await self.save()
        except (sqlite3.Error, StatusError) as error:
            logger.warning("%s: cannot save the state of deliveries; events will be sent again: %s", self._name, error)

    async def save(self) -> None:
        """Save all outcomes so far."""
        self._add_rows_of_slow_events()
        position = self._reader.position
        changed_rows, self._changed_rows = self._changed_rows, {}
        documents, self._documents = self._documents, {}
        changed_groups, self._queue.changed = self._queue.changed, set()
        touched = changed_groups | {delivery.group for delivery in changed_rows.values() if delivery is not None}
        if self._is_catching_up and position >= self._read_before:
            self._read_before = 0
            touched |= self._cursors.keys()
        changed_cursors = self._changed_cursors(touched, changed_rows)
        position = max(position, self._read_before)
        cursors = self._cursors | changed_cursors if changed_cursors else self._cursors
        lowest = min((cursor for cursor in cursors.values() if cursor is not None), default=position)
        progress = Progress(lowest, position, {})
        if not changed_rows and not changed_cursors and progress == self._saved:
            return
        self.held_rows.hold(changed_rows)
        try:
            await self._store.save(progress, changed_cursors, changed_rows, list(documents.values()))
        except BaseException:
            self._changed_rows = changed_rows | self._changed_rows
            self._documents = documents | self._documents
            self._queue.changed |= touched
            raise
        self._saved = progress
        for group, cursor in changed_cursors.items():
            if cursor is None:
                self._cursors.pop(group, None)
            else:
                self._cursors[group] = cursor
        self._finish_saved(changed_rows)

    @property
    def _is_catching_up(self) -> bool:
        """Whether events that an earlier run left pending are not read yet."""
        return self._read_before > 0

    def _changed_cursors(self, groups: set[int], saved_rows: dict[int, Delivery | None]) -> dict[int, int | None]:
        """Return the cursor of each group whose cursor differs from the saved cursor. None means no pending events."""
        changed: dict[int, int | None] = {}
        for number in groups:
            group = self._queue.groups.get(number)
            first = None if group is None else group.first_unsaved(saved_rows)
            cursor = None if first is None else first - 1
            if cursor is None and self._is_catching_up:
                cursor = self._cursors.get(number)
            if cursor != self._cursors.get(number):
                changed[number] = cursor
        return changed

    def _finish_saved(self, saved_rows: dict[int, Delivery | None]) -> None:
        for sequence, delivery in saved_rows.items():
            if delivery is not None:
                self._queue.remove(delivery.group, sequence)
            if sequence in self._changed_rows or (delivery is not None and delivery.is_unsettled):
                continue
            self.held_rows.release(sequence)
        if saved_rows:
            for event in self.on_saved:
                event.set()

    def _add_document(self, write: PreparedWrite | None) -> None:
        if write is not None:
            self._documents[write.full_name] = write

    def _add_rows_of_slow_events(self) -> None:
        latest = time.monotonic() - SLOW_SECONDS
        for delivery in self._queue.in_flight:
            if delivery.started < latest and not delivery.has_row:
                delivery.has_row = True
                self._changed_rows[delivery.sequence] = delivery
