"""What was just committed, handed to the streams that it concerns.

The feed looks every change up once: by the document's name and by its collection. A stream that does
not keep up loses its queue, not its place: it reads on from the file, from the last change it saw.
"""

from collections import defaultdict, deque
from functools import cached_property
from typing import Any, Protocol

from infra.embedded.firestore.encoding import resource_names
from infra.embedded.firestore.messages import Document
from infra.embedded.firestore.storage.clock import Snapshot
from infra.embedded.firestore.storage.storage import Change, Storage

MAX_QUEUE_LENGTH = 4_096
MAX_QUEUE_BYTES = 16 * 1024 * 1024

Topic = tuple[str, str | None]  # a database and a collection id (None: any), or a full name and ""


class ParsedChange:
    """A change whose documents are parsed at most once, for all streams."""

    def __init__(self, change: Change) -> None:
        self.sequence = change.sequence
        self.commit_time = change.commit_time
        self.full_name = change.name
        self.size = len(change.old or b"") + len(change.new or b"")
        self._change = change

    def followed_by(self, later: Change) -> "ParsedChange":
        """Return this change and a later one of the same document as one."""
        earlier = self._change
        return ParsedChange(Change(later.sequence, later.commit_time, earlier.name, earlier.old, later.new))

    @cached_property
    def name(self) -> resource_names.ResourceName:
        """The name, split."""
        return resource_names.parse(self.full_name)

    @cached_property
    def path(self) -> bytes:
        """The path as bytes that sort."""
        return self.name.path

    @cached_property
    def old(self) -> Any | None:
        """The document before."""
        return None if self._change.old is None else Document.FromString(self._change.old)

    @cached_property
    def new(self) -> Any | None:
        """The document after."""
        return None if self._change.new is None else Document.FromString(self._change.new)


class Subscriber(Protocol):
    """A stream that changes are handed to."""

    def offer(self, changes: list[ParsedChange]) -> None:
        """Take note of changes; called in the order of commits, must not wait."""


class Feed:
    """Knows who is interested in what."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._position = storage.snapshot()
        self._subscribers: defaultdict[Topic, set[Subscriber]] = defaultdict(set)
        storage.observers.append(self._publish)

    @property
    def position(self) -> Snapshot:
        """The moment up to which every change was offered, never an earlier one than before.

        It holds all that was acknowledged.
        """
        latest = self.storage.snapshot()
        if latest.sequence == self._position.sequence:
            self._position = latest
        return self._position

    def subscribe(self, subscriber: Subscriber, topics: set[Topic]) -> None:
        """Offer changes on these topics from now on."""
        for topic in topics:
            self._subscribers[topic].add(subscriber)

    def unsubscribe(self, subscriber: Subscriber, topics: set[Topic]) -> None:
        """Offer no more changes on these topics."""
        for topic in topics:
            self._subscribers[topic].discard(subscriber)
            if not self._subscribers[topic]:
                del self._subscribers[topic]

    def _publish(self, changes: list[Change]) -> None:
        last = changes[-1]
        self._position = Snapshot(last.commit_time, last.sequence)
        if not self._subscribers:
            return
        batches: defaultdict[Subscriber, list[ParsedChange]] = defaultdict(list)
        for change in map(ParsedChange, changes):
            database, collection_id = change.name.database, change.name.collection_id
            interested: set[Subscriber] = set()
            for topic in ((change.full_name, ""), (database, collection_id), (database, None)):
                interested |= self._subscribers.get(topic, set())
            for subscriber in interested:
                batches[subscriber].append(change)
        for subscriber, batch in batches.items():
            subscriber.offer(batch)


class Queue:
    """The changes that one stream has yet to handle, bounded."""

    def __init__(self) -> None:
        self._changes: deque[ParsedChange] = deque()
        self._bytes = 0
        self.overflowed = False

    def add(self, changes: list[ParsedChange]) -> None:
        """Add changes, or give up if they are too many."""
        if self.overflowed:
            return
        self._changes.extend(changes)
        self._bytes += sum(change.size for change in changes)
        if len(self._changes) > MAX_QUEUE_LENGTH or self._bytes > MAX_QUEUE_BYTES:
            self.clear()
            self.overflowed = True

    def take_commit(self) -> list[ParsedChange]:
        """Return all changes of the oldest commit, or none."""
        commit: list[ParsedChange] = []
        while self._changes and (not commit or self._changes[0].commit_time == commit[0].commit_time):
            change = self._changes.popleft()
            self._bytes -= change.size
            commit.append(change)
        return commit

    def clear(self) -> None:
        """Forget everything."""
        self._changes.clear()
        self._bytes = 0
        self.overflowed = False

    def __bool__(self) -> bool:
        return bool(self._changes) or self.overflowed
