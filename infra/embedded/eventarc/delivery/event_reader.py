"""Reads the events of a trigger from the change feed into the fair queue.

The reader does not wait until events are sent. It therefore finds the events of a group even if another group has a
large backlog. If not all events fit into memory, the queue stores positions. A second task reads the documents of these
events before their turn.

The storage passes each new change to the reader. The reader reads the data file only for changes that it did not take:
those before its start, and those after a pause because too many events were pending.

A change in a damaged page of the data file cannot be read, so its event is lost. The reader logs the change, and
continues after it. Otherwise, no later event would be delivered.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Mapping, Sequence
from zlib import crc32

from infra.embedded.eventarc import cloudevent
from infra.embedded.eventarc.delivery.delivery import Delivery
from infra.embedded.eventarc.delivery.fair_queue import FairQueue
from infra.embedded.eventarc.delivery.group import Group
from infra.embedded.eventarc.path_patterns import Pattern
from infra.embedded.eventarc.trigger import Trigger
from infra.embedded.firestore.errors import is_damage
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.storage.versions import Change

MAX_CHANGES_PER_READ = 50  # a change may hold two documents of 1 MiB
MAX_NAMES_PER_READ = 500
MAX_PENDING = 8_000_000  # a position takes 10 bytes
MAX_GROUPS = 65_536
FULL_SECONDS = 1.0

logger = logging.getLogger("eventarc")


class EventSelection:
    """The events that a trigger selects, and their groups."""

    def __init__(self, trigger: Trigger) -> None:
        self._trigger = trigger
        self._pattern = Pattern(trigger.document)

    def group(self, name: str) -> int | None:
        """Return the number of the group of a document, or None if the trigger does not select the document.

        The number is a hash of the group's name. Groups of equal numbers count as one group.
        """
        _, database, path = cloudevent.split_name(name)
        group = self._pattern.group(path) if database == self._trigger.database else None
        return None if group is None else crc32(group.encode()) % MAX_GROUPS

    def selects(self, change: Change) -> bool:
        """Return whether the trigger selects a change."""
        return self.selects_kind(change) and self.group(change.name) is not None

    def selects_kind(self, change: Change) -> bool:
        """Return whether the trigger selects changes of this kind: created, updated or deleted."""
        return self._trigger.kind in (cloudevent.WRITTEN, cloudevent.change_kind(change))


class EventReader:
    """Reads the events of one trigger."""

    def __init__(self, storage: Storage, trigger: str, selection: EventSelection, queue: FairQueue) -> None:
        self.position = 0
        """The last sequence that was read."""
        self.on_read = asyncio.Event()
        """Set after each read."""
        self._storage = storage
        self._name = trigger
        self._selection = selection
        self._queue = queue
        self._read_before = 0
        self._cursors: Mapping[int, int] = {}
        self._missed = asyncio.Event()  # set if the file may have changes that the reader did not take
        self._failure: Exception | None = None
        """An error while taking changes. It ends the reader, like an error of reading, so that no change is skipped."""

    def start_at(self, cursor: int, read_before: int, cursors: Mapping[int, int]) -> None:
        """Continue after an earlier run that had read the changes up to `read_before`.

        All changes up to `cursor` are acknowledged. `cursors` contains the groups that had pending events up to
        `read_before`. The events of such a group are pending after the cursor of the group.
        """
        self.position, self._read_before, self._cursors = cursor, read_before, cursors

    async def run(self) -> None:
        """Read until cancelled."""
        observers = self._storage.observers
        observers.append(self._take)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read_missed())
                tasks.create_task(self._load_documents())
        finally:
            observers.remove(self._take)

    def _take(self, changes: Sequence[Change]) -> None:
        """Add the changes of a group commit if the reader has read all changes before them."""
        if changes[-1].sequence <= self.position:  # read from the file before the storage passed them
            return
        if changes[0].sequence != self.position + 1 or self._queue.pending >= MAX_PENDING:
            self._missed.set()
            return
        try:
            for change in changes:
                self._add(change.sequence, change.name, change)
        except Exception as error:  # noqa: BLE001 - `_read_missed` raises it
            self._failure = error
            self._missed.set()
        self.on_read.set()

    async def _read_missed(self) -> None:
        """Read changes from the file until there are none, and again when the reader has missed changes."""
        while True:
            if self._failure is not None:
                raise self._failure
            self._missed.clear()
            published = self._storage.snapshot().sequence
            is_full = self._queue.has_positions or self._queue.is_full
            if is_full and self._queue.pending >= MAX_PENDING:
                await asyncio.sleep(FULL_SECONDS)
                continue
            try:
                count = await (self._read_names() if is_full else self._read_changes())
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                count = await self._read_around_damage(published)
            if not count:
                self.position = max(self.position, published)
                await self._missed.wait()
            self.on_read.set()

    async def _read_names(self) -> int:
        """Add the positions of the next changes. Return the number of changes."""
        names = await self._storage.changed_names(self.position, MAX_NAMES_PER_READ)
        for sequence, name in names:
            self._add(sequence, name, None)
        return len(names)

    async def _read_changes(self) -> int:
        """Add the next changes. Return their number."""
        changes = await self._storage.changes(self.position, MAX_CHANGES_PER_READ)
        for change in changes:
            self._add(change.sequence, change.name, change)
        return len(changes)

    async def _read_around_damage(self, published: int) -> int:
        """Add the next changes up to `published`, except those in damaged pages. Return the number of sequences."""
        last = min(self.position + MAX_CHANGES_PER_READ, published)
        sequences = range(self.position + 1, last + 1)
        for change in await self._readable_changes(sequences):
            self._add(change.sequence, change.name, change)
        self.position = max(self.position, last)
        return len(sequences)

    async def _readable_changes(self, sequences: Sequence[int]) -> list[Change]:
        """Return the changes with these sequences, except those in damaged pages, which are logged.

        Raise StatusError if it is not certain that the disk works.
        """
        if not sequences:
            return []
        try:
            return await self._storage.changes_at(sequences)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
        if len(sequences) == 1:
            self._storage.check_is_damage()
            logger.error(
                "%s: change %d is in a damaged page of the data file, so its event is lost", self._name, sequences[0]
            )
            return []
        middle = len(sequences) // 2
        return [
            *await self._readable_changes(sequences[:middle]),
            *await self._readable_changes(sequences[middle:]),
        ]

    def _add(self, sequence: int, name: str, change: Change | None) -> None:
        if sequence <= self.position:  # taken while the file was read
            return
        group = self._selection.group(name)
        if group is not None and not (sequence <= self._read_before and sequence <= self._cursors.get(group, sequence)):
            if change is None:
                self._queue.add(group, sequence, None)
            elif self._selection.selects_kind(change):
                self._queue.add(group, sequence, Delivery(change, group))
        self.position = sequence  # last, because changes up to the position are not read again

    async def _load_documents(self) -> None:
        while True:
            await self._queue.loaded.wait()
            self._queue.loaded.clear()
            while groups := self._queue.take_positions():
                await self._load(groups)

    async def _load(self, groups: Mapping[int, Group]) -> None:
        """Read the events at some positions. `groups` maps each position to the group of its event."""
        changes = await self._readable_changes(list(groups))
        self._queue.load(
            {group.number: group for group in groups.values()}.values(),
            [
                Delivery(change, groups[change.sequence].number)
                for change in changes
                if self._selection.selects_kind(change)
            ],
        )
        self.on_read.set()
