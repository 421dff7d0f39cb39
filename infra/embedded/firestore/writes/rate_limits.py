"""How fast production can be written, simulated: whoever writes faster is ABORTED and tries again later.

Google documents three rates. An index on a field that only ever grows or falls takes 500 writes a second
in each of its ranges, because all of them go to one end; the values before that field in a composite index
make ranges of their own. A collection that is new takes 500 a second, and half as much again every five
minutes. A document takes one write a second for long. Short bursts pass, here as there.

Whether a field grows is found out by watching it: nobody declares it. The trap: writes of one commit have the
same server time, so equal values say nothing either way.
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
from infra.embedded.firestore.indexes.index_registry import Registry
from infra.embedded.firestore.writes.locks import CONTENTION
from infra.embedded.firestore.writes.pending_document import Pending

INDEXES, COLLECTIONS, DOCUMENTS = "indexes", "collections", "documents"
LIMITS = (INDEXES, COLLECTIONS, DOCUMENTS)

INDEX_RATE = 500.0
COLLECTION_RATE, GROWTH, GROWTH_SECONDS = 500.0, 1.5, 300.0
DOCUMENT_RATE, DOCUMENT_BURST = 1.0, 5.0

WATCHED = 64  # changes of a field by which it is judged; older ones count half
ENOUGH = 4
MAX_KNOWN = 10_000

Place = tuple[Any, ...]
"""What has a rate of its own: its limit, then what tells it from others."""


@dataclass(slots=True)
class _Allowance:
    """Fills up at a rate to what a burst may take."""

    left: float
    at: float

    def refill(self, now: float, rate: float, burst: float) -> float:
        self.left = min(burst, self.left + (now - self.at) * rate)
        self.at = now
        return self.left


@dataclass(slots=True)
class _Trend:
    """Whether the values of a field grow, or fall, from one write to the next."""

    last: bytes = b""
    rises: float = 0.0
    falls: float = 0.0

    def follow(self, value: bytes) -> None:
        if self.last and value != self.last:
            self.rises += value > self.last
            self.falls += value < self.last
            if self.rises + self.falls > WATCHED:
                self.rises, self.falls = self.rises / 2, self.falls / 2
        self.last = value

    @property
    def is_one_way(self) -> bool:
        most, least = max(self.rises, self.falls), min(self.rises, self.falls)
        return most >= ENOUGH and least * 10 <= most


class Rates:
    """Keeps writes to the rates of production. Used on the writer's thread."""

    def __init__(
        self, registry: Registry, limits: Collection[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._registry = registry
        self._limits = frozenset(limits)
        self._clock = clock
        self._allowances: dict[Place, _Allowance] = {}
        self._trends: dict[tuple[str, FieldPath], _Trend] = {}
        self._began: dict[Place, float] = {}
        self._max_known = MAX_KNOWN

    def admit(self, documents: Iterable[Pending]) -> None:
        """Let what one commit is about to change pass, as a whole, or raise ABORTED."""
        if not self._limits:
            return
        now = self._clock()
        wanted = Counter(place for document in documents for place in self._places(document))
        for place, writes in wanted.items():
            rate, burst = self._rate(place, now)
            allowance = self._allowances.setdefault(place, _Allowance(burst, now))
            if allowance.refill(now, rate, burst) < min(writes, burst):
                raise aborted(CONTENTION)
        for place, writes in wanted.items():
            self._allowances[place].left -= writes
        if len(self._allowances) > self._max_known or len(self._trends) > MAX_KNOWN:
            self._forget(now)

    def _rate(self, place: Place, now: float) -> tuple[float, float]:
        """Return how many writes a second a place takes, and how many at once."""
        if place[0] == DOCUMENTS:
            return DOCUMENT_RATE, DOCUMENT_BURST
        if place[0] == INDEXES:
            return INDEX_RATE, INDEX_RATE
        age = now - self._began.setdefault(place, now)
        rate = COLLECTION_RATE * GROWTH ** (age // GROWTH_SECONDS)
        return rate, rate

    def _forget(self, now: float) -> None:
        """Forget places that are as if they had never been written, and too many trends: they show again."""
        for place, allowance in list(self._allowances.items()):
            rate, burst = self._rate(place, now)
            if allowance.refill(now, rate, burst) == burst:
                del self._allowances[place]
        if len(self._trends) > MAX_KNOWN:
            self._trends.clear()
        self._max_known = max(MAX_KNOWN, 2 * len(self._allowances))

    def _places(self, document: Pending) -> Iterator[Place]:
        name = document.name
        if DOCUMENTS in self._limits:
            yield DOCUMENTS, document.full_name
        if COLLECTIONS in self._limits:
            yield COLLECTIONS, name.database, name.collection_id
        if INDEXES in self._limits:
            yield from self._ranges(document)

    def _ranges(self, document: Pending) -> Iterator[Place]:
        """Yield the ranges of indexes, at one end of which the document gets a new entry."""
        name, collection = document.name, document.full_name.rpartition("/")[0]
        group = f"{name.database}/{name.collection_id}"
        old, encoded = _leaves(document.old), _leaves(document.new)
        one_way = {path for path, value in encoded.items() if self._follow(collection, path, value)}
        defined = self._registry.defined
        for path in one_way:
            if old.get(path) != encoded[path]:
                scopes = {
                    scope for mode, scope in defined.modes(name.collection_id, path) if mode != definitions.CONTAINS
                }
                for scope in scopes:
                    yield INDEXES, path, group if scope == definitions.COLLECTION_GROUP else collection
        for number, index in self._registry.stored().items():
            paths = [component.field for component in index.components if component.field != field_paths.DOCUMENT_ID]
            if index.collection_id != name.collection_id or not one_way.intersection(paths):
                continue
            if not all(path in encoded for path in paths) or all(old.get(path) == encoded[path] for path in paths):
                continue
            before = paths[: next(place for place, path in enumerate(paths) if path in one_way)]
            scope = group if index.scope == definitions.COLLECTION_GROUP else collection
            yield INDEXES, number, scope, *(encoded[path] for path in before)

    def _follow(self, collection: str, path: FieldPath, value: bytes) -> bool:
        trend = self._trends.setdefault((collection, path), _Trend())
        trend.follow(value)
        return trend.is_one_way


def _leaves(document: Any | None) -> dict[FieldPath, bytes]:
    """Return every field that is no map, as indexes hold it."""
    return {} if document is None else dict(_members(document.fields, ()))


def _members(members: Any, parent: FieldPath) -> Iterator[tuple[FieldPath, bytes]]:
    for name, value in members.items():
        if value.WhichOneof("value_type") == "map_value" and not values.is_typed_map(value):
            yield from _members(value.map_value.fields, (*parent, name))
        else:
            yield (*parent, name), values.encode_indexed(value)
