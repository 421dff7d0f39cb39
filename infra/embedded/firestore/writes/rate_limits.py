"""Simulation of production's write rates. A write that exceeds a rate fails with ABORTED, so the client retries later.

Google documents three rates. As in production, a short burst can exceed the rate.

- An index on a field whose values only rise or only fall accepts 500 writes a second, because all new entries are at
  one end. In a composite index, each combination of the values before this field has a separate rate.
- A new collection accepts 500 writes a second. The rate rises by 50 % every five minutes.
- A document accepts one write a second in the long term.

This module detects from the written values whether a field rises or falls. Equal values are ignored, because all writes
of a commit have the same server time.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from infra.embedded.firestore.encoding import field_paths, values
from infra.embedded.firestore.encoding.field_paths import FieldPath
from infra.embedded.firestore.errors import aborted
from infra.embedded.firestore.indexes import definitions
from infra.embedded.firestore.indexes.index_registry import IndexRegistry
from infra.embedded.firestore.messages import Document, Fields
from infra.embedded.firestore.writes.locks import CONTENTION
from infra.embedded.firestore.writes.pending_document import PendingDocument

INDEXES, COLLECTIONS, DOCUMENTS = "indexes", "collections", "documents"
LIMIT_NAMES = (INDEXES, COLLECTIONS, DOCUMENTS)

INDEX_RATE = 500.0  # all rates are in writes per second
COLLECTION_RATE, COLLECTION_GROWTH, COLLECTION_GROWTH_SECONDS = 500.0, 1.5, 300.0
DOCUMENT_RATE, DOCUMENT_BURST = 1.0, 5.0

TREND_WINDOW = 64  # when a field has more changes than this, both counters are halved
MIN_TREND_CHANGES = 4
MIN_TREND_RATIO = 10
MAX_TRACKED = 10_000

LimitedResource = tuple[Any, ...]
"""A resource with its own rate: the name of the limit, followed by the key of the resource."""


@dataclass(slots=True)
class _TokenBucket:
    """A token bucket: the number of writes that a resource accepts now."""

    tokens: float
    updated_at: float

    def refill(self, now: float, rate: float, burst: float) -> float:
        self.tokens = min(burst, self.tokens + (now - self.updated_at) * rate)
        self.updated_at = now
        return self.tokens


@dataclass(slots=True)
class _Trend:
    """Counts how often the value of a field rises and falls between consecutive writes."""

    last: bytes = b""
    rises: float = 0.0
    falls: float = 0.0

    def add(self, value: bytes) -> None:
        if self.last and value != self.last:
            self.rises += value > self.last
            self.falls += value < self.last
            if self.rises + self.falls > TREND_WINDOW:
                self.rises, self.falls = self.rises / 2, self.falls / 2
        self.last = value

    @property
    def is_monotonic(self) -> bool:
        more, fewer = max(self.rises, self.falls), min(self.rises, self.falls)
        return more >= MIN_TREND_CHANGES and fewer * MIN_TREND_RATIO <= more


class RateLimits:
    """Enforces `limits`, which are names from LIMIT_NAMES. The writer's thread uses this class.

    `clock` returns monotonic time in seconds.
    """

    def __init__(
        self, registry: IndexRegistry, limits: Collection[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._registry = registry
        self._limits = frozenset(limits)
        self._clock = clock
        self._buckets: dict[LimitedResource, _TokenBucket] = {}
        self._trends: dict[tuple[str, FieldPath], _Trend] = {}
        self._first_writes: dict[LimitedResource, float] = {}
        self._max_buckets = MAX_TRACKED

    def admit(self, documents: Iterable[PendingDocument]) -> None:
        """Admit all changes of one commit, or raise ABORTED and admit none."""
        if not self._limits:
            return
        now = self._clock()
        demand = Counter(resource for document in documents for resource in self._resources(document))
        for resource, writes in demand.items():
            rate, burst = self._rate(resource, now)
            bucket = self._buckets.setdefault(resource, _TokenBucket(burst, now))
            if bucket.refill(now, rate, burst) < min(writes, burst):
                raise aborted(CONTENTION)
        for resource, writes in demand.items():
            self._buckets[resource].tokens -= writes
        if len(self._buckets) > self._max_buckets or len(self._trends) > MAX_TRACKED:
            self._evict(now)

    def _rate(self, resource: LimitedResource, now: float) -> tuple[float, float]:
        """Return the writes per second and the burst of a resource."""
        if resource[0] == DOCUMENTS:
            return DOCUMENT_RATE, DOCUMENT_BURST
        if resource[0] == INDEXES:
            return INDEX_RATE, INDEX_RATE
        age = now - self._first_writes.setdefault(resource, now)
        rate = COLLECTION_RATE * COLLECTION_GROWTH ** (age // COLLECTION_GROWTH_SECONDS)
        return rate, rate

    def _evict(self, now: float) -> None:
        """Drop full buckets, and all trends if there are too many. Later writes create them again."""
        for resource, bucket in list(self._buckets.items()):
            rate, burst = self._rate(resource, now)
            if bucket.refill(now, rate, burst) == burst:
                del self._buckets[resource]
        if len(self._trends) > MAX_TRACKED:
            self._trends.clear()
        self._max_buckets = max(MAX_TRACKED, 2 * len(self._buckets))

    def _resources(self, document: PendingDocument) -> Iterator[LimitedResource]:
        name = document.name
        if DOCUMENTS in self._limits:
            yield DOCUMENTS, document.full_name
        if COLLECTIONS in self._limits:
            yield COLLECTIONS, name.database, name.collection_id
        if INDEXES in self._limits:
            yield from self._index_ranges(document)

    def _index_ranges(self, document: PendingDocument) -> Iterator[LimitedResource]:
        """Yield the index ranges in which the document adds an entry at one end."""
        collection = document.full_name.rpartition("/")[0]
        group = f"{document.name.database}/{document.name.collection_id}"
        old, new = _leaves(document.old), _leaves(document.new)
        monotonic = {path for path, value in new.items() if self._is_monotonic(collection, path, value)}
        for path in monotonic:
            if old.get(path) != new[path]:
                modes = self._registry.definitions.modes(document.name.collection_id, path)
                for scope in {scope for mode, scope in modes if mode != definitions.CONTAINS}:
                    yield INDEXES, path, group if scope == definitions.COLLECTION_GROUP else collection
        for number, index in self._registry.stored_indexes().items():
            paths = [each.path for each in index.fields if each.path != field_paths.DOCUMENT_ID]
            if index.collection_id != document.name.collection_id or not monotonic.intersection(paths):
                continue
            if not all(path in new for path in paths) or all(old.get(path) == new[path] for path in paths):
                continue
            prefix = paths[: next(position for position, path in enumerate(paths) if path in monotonic)]
            scope = group if index.scope == definitions.COLLECTION_GROUP else collection
            yield INDEXES, number, scope, *(new[path] for path in prefix)

    def _is_monotonic(self, collection: str, path: FieldPath, value: bytes) -> bool:
        trend = self._trends.setdefault((collection, path), _Trend())
        trend.add(value)
        return trend.is_monotonic


def _leaves(document: Document | None) -> dict[FieldPath, bytes]:
    """Return the encoded value of every field that is not a map, including fields inside maps."""
    return {} if document is None else dict(_members(document.fields, ()))


def _members(members: Fields, parent: FieldPath) -> Iterator[tuple[FieldPath, bytes]]:
    for name, value in members.items():
        if value.WhichOneof("value_type") == "map_value" and not values.is_typed_map(value):
            yield from _members(value.map_value.fields, (*parent, name))
        else:
            yield (*parent, name), values.encode_indexed(value)
