"""The change feed distributes committed changes to the Listen streams that subscribe to them.

Topics connect changes with subscribers: each subscriber has topics, and each changed document belongs to a few topics.
The cost of a change therefore does not depend on the number of subscribers with other topics.

The queue of a slow stream can overflow. The stream then reads the changes after its position from the data file, so
that it does not miss a change.
"""

from collections import defaultdict, deque
from collections.abc import Collection, Iterator
from functools import cached_property
from typing import Generic, Protocol, TypeVar

from infra.embedded.firestore.encoding import resource_names
from infra.embedded.firestore.errors import data_loss
from infra.embedded.firestore.messages import Document
from infra.embedded.firestore.storage.clock import Snapshot
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.storage.versions import Change

MAX_QUEUE_LENGTH = 4_096
MAX_QUEUE_BYTES = 16 * 1024 * 1024

DOCUMENT, COLLECTION, GROUP, CHILDREN, DESCENDANTS = "document", "collection", "group", "children", "descendants"

Topic = tuple[str, str, tuple[str, ...]]
"""A set of documents: a kind, a database and segments. The segments are, for each kind:

- DOCUMENT: those of the document
- COLLECTION: those of the collection
- GROUP: the id of the collection, which can be below any document
- CHILDREN: those of the parent document of collections with any id
- DESCENDANTS: those of a document above these documents, at any depth. Without segments, all documents.
"""


def topics_of(name: resource_names.ResourceName) -> Iterator[Topic]:
    """Yield the topics to which a document belongs."""
    database, segments = name.database, name.segments
    yield DOCUMENT, database, segments
    yield COLLECTION, database, segments[:-1]
    yield GROUP, database, segments[-2:-1]
    yield CHILDREN, database, segments[:-2]
    for length in range(0, len(segments), 2):
        yield DESCENDANTS, database, segments[:length]


S = TypeVar("S")


class Subscriptions(Generic[S]):
    """The topics of subscribers."""

    def __init__(self) -> None:
        self._subscribers: defaultdict[Topic, dict[S, None]] = defaultdict(dict)

    def add(self, subscriber: S, topics: Collection[Topic]) -> None:
        """Add topics to those of a subscriber."""
        for topic in topics:
            self._subscribers[topic][subscriber] = None

    def remove(self, subscriber: S, topics: Collection[Topic]) -> list[Topic]:
        """Remove topics from those of a subscriber. Return the topics that have no subscriber now."""
        for topic in topics:
            self._subscribers[topic].pop(subscriber, None)
        unused = [topic for topic in topics if not self._subscribers[topic]]
        for topic in unused:
            del self._subscribers[topic]
        return unused

    def of(self, name: resource_names.ResourceName) -> Collection[S]:
        """Return the subscribers that have a topic of a document, each once."""
        found: dict[S, None] = {}
        for topic in topics_of(name):
            found |= self._subscribers.get(topic, {})
        return found

    def __bool__(self) -> bool:
        return bool(self._subscribers)


class ParsedChange:
    """A change that all streams share, so that each document is parsed at most once.

    `is_merged` says that the document had other versions between the old and the new document.
    """

    def __init__(self, change: Change, is_merged: bool = False) -> None:
        self.sequence = change.sequence
        self.commit_time = change.commit_time
        self.full_name = change.name
        self.size = len(change.old or b"") + len(change.new or b"")
        self.is_merged = is_merged
        self._change = change

    def merged_with(self, later: Change) -> "ParsedChange":
        """Return one change that combines this change with a later change of the same document."""
        earlier = self._change
        return ParsedChange(Change(later.sequence, later.commit_time, earlier.name, earlier.old, later.new), True)

    @cached_property
    def name(self) -> resource_names.ResourceName:
        """The parsed name of the document."""
        return resource_names.parse(self.full_name)

    @cached_property
    def path(self) -> bytes:
        """The path of the document, encoded as bytes that sort."""
        return self.name.path

    @cached_property
    def old(self) -> Document | None:
        """The document before the change, or None if it did not exist."""
        return self._parsed(self._change.old)

    @cached_property
    def new(self) -> Document | None:
        """The document after the change, or None if it was deleted."""
        return self._parsed(self._change.new)

    def _parsed(self, document: bytes | None) -> Document | None:
        if document == b"":
            raise data_loss(self.full_name)
        return None if document is None else Document.FromString(document)


class Subscriber(Protocol):
    """A stream that receives changes."""

    def offer(self, changes: list[ParsedChange]) -> None:
        """Queue changes. The feed calls this in commit order on the event loop, so it must not block."""


class ChangeFeed:
    """The subscriptions of all streams."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._position = storage.snapshot()
        self._subscriptions = Subscriptions[Subscriber]()
        storage.observers.append(self._publish)

    @property
    def position(self) -> Snapshot:
        """The latest snapshot for which the feed has offered all changes. It includes every acknowledged commit.

        The position never decreases.
        """
        latest = self.storage.snapshot()
        if latest.sequence == self._position.sequence:
            self._position = latest
        return self._position

    def subscribe(self, subscriber: Subscriber, topics: Collection[Topic]) -> None:
        """Offer later changes of these topics to a subscriber."""
        self._subscriptions.add(subscriber, topics)

    def unsubscribe(self, subscriber: Subscriber, topics: Collection[Topic]) -> None:
        """Stop offering changes of these topics to a subscriber."""
        self._subscriptions.remove(subscriber, topics)

    def _publish(self, changes: list[Change]) -> None:
        last = changes[-1]
        self._position = Snapshot(last.commit_time, last.sequence)
        if not self._subscriptions:
            return
        batches: defaultdict[Subscriber, list[ParsedChange]] = defaultdict(list)
        for change in map(ParsedChange, changes):
            for subscriber in self._subscriptions.of(change.name):
                batches[subscriber].append(change)
        for subscriber, batch in batches.items():
            subscriber.offer(batch)


class ChangeQueue:
    """The changes that one stream has not handled yet. The queue has a limit for length and for bytes."""

    def __init__(self) -> None:
        self._changes: deque[ParsedChange] = deque()
        self._bytes = 0
        self.overflowed = False

    def add(self, changes: list[ParsedChange]) -> None:
        """Append changes. If a limit is exceeded, drop all changes and set `overflowed`."""
        if self.overflowed:
            return
        self._changes.extend(changes)
        self._bytes += sum(change.size for change in changes)
        if len(self._changes) > MAX_QUEUE_LENGTH or self._bytes > MAX_QUEUE_BYTES:
            self.clear()
            self.overflowed = True

    def pop_commit(self) -> list[ParsedChange]:
        """Remove and return all changes of the oldest commit, or an empty list."""
        commit: list[ParsedChange] = []
        while self._changes and (not commit or self._changes[0].commit_time == commit[0].commit_time):
            change = self._changes.popleft()
            self._bytes -= change.size
            commit.append(change)
        return commit

    def clear(self) -> None:
        """Drop all changes and reset `overflowed`."""
        self._changes.clear()
        self._bytes = 0
        self.overflowed = False

    def __bool__(self) -> bool:
        return bool(self._changes) or self.overflowed
