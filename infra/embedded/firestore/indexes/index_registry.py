"""The indexes of a data file, and the state of each index.

Writes update an index as soon as it is registered. Queries use an index only when it is complete, after its build.
An index and its exact reverse share their entries. The keys contain the number of the index that was registered first.
The entries stay in the file until both indexes are dropped. A build then deletes the entries. The number is not used
again before that.

Only the writer's thread changes the registry. Readers use `readable`, which the writer replaces as a whole.
"""

import json
import sqlite3
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from infra.embedded.firestore.encoding.field_paths import FieldPath
from infra.embedded.firestore.indexes import definitions
from infra.embedded.firestore.indexes.definitions import (
    ANY_FIELD,
    CompositeIndex,
    Definitions,
    IndexField,
    parse_composite,
)
from infra.embedded.firestore.indexes.entries import DocumentIndexer

UsableIndex = tuple[int, tuple[IndexField, ...]]
"""The number in the keys of a composite index, and the fields that a query compares at the start of the keys."""


@dataclass(frozen=True, slots=True)
class ReadableIndexes:
    """The indexes that queries may use. Each complete composite index maps to the number in its keys."""

    definitions: Definitions
    composite_indexes: Mapping[CompositeIndex, int]
    earlier: Mapping[str, tuple[Definitions, ...]] = field(default_factory=dict)
    """The collection groups with a build. A single-field index is complete if all earlier definitions have it."""
    building: "ReadableIndexes | None" = None
    """All indexes, including those that are being built. None if all indexes are complete."""
    usable: dict[Hashable, list[UsableIndex]] = field(default_factory=dict)
    """The composite indexes that the planner can use, by the shape of a disjunction: everything but its operands."""

    def has_field_index(self, collection_id: str, path: FieldPath, mode: str, scope: str) -> bool:
        """Return whether a field has a single-field index that is complete."""
        if (mode, scope) not in self.definitions.modes(collection_id, path):
            return False
        kind = mode == definitions.CONTAINS, scope
        return all(kind in each.entry_kinds(collection_id, path) for each in self.earlier.get(collection_id, ()))


class IndexRegistry:
    """All indexes of a file. Composite indexes have numbers."""

    def __init__(self, index_definitions: Definitions) -> None:
        self.definitions = index_definitions
        self.dropped: dict[int, str] = {}
        """Dropped composite indexes whose entries are still in the file: the number in the keys, and the group."""
        self.earlier: dict[str, tuple[Definitions, ...]] = {}
        """The collection groups with a build, and the field definitions of earlier starts since the last build."""
        self._indexes: dict[int, CompositeIndex] = {}
        self._entry_numbers: dict[int, int] = {}  # index number to the number in the keys of its entries
        self._complete: set[int] = set()
        self._indexers: dict[str, DocumentIndexer] = {}
        self.readable = ReadableIndexes(index_definitions, {})

    def load(self, connection: sqlite3.Connection) -> None:
        """Replace the indexes in memory with the indexes in the file."""
        rows = connection.execute("SELECT id, definition, entries, complete FROM composites").fetchall()
        self._indexes = {number: parse_composite(json.loads(text)) for number, text, _, _ in rows}
        self._entry_numbers = {number: entry_number for number, _, entry_number, _ in rows}
        self._complete = {number for number, _, _, complete in rows if complete}
        self.dropped = dict(connection.execute("SELECT entries, collection_id FROM dropped_composites").fetchall())
        self.earlier = {
            collection_id: tuple(map(definitions.from_json, json.loads(earlier)))
            for collection_id, earlier in connection.execute("SELECT collection_id, earlier FROM index_builds")
        }
        self._refresh()

    def _refresh(self) -> None:
        self._indexers = {}
        every = {index: self._entry_numbers[number] for number, index in self._indexes.items()}
        complete = {index: every[index] for number, index in self._indexes.items() if number in self._complete}
        building = ReadableIndexes(self.definitions, every) if self.earlier else None
        self.readable = ReadableIndexes(self.definitions, complete, dict(self.earlier), building)

    def indexes(self) -> dict[int, CompositeIndex]:
        """Return all composite indexes by number."""
        return dict(self._indexes)

    def stored_indexes(self) -> dict[int, CompositeIndex]:
        """Return the composite indexes that have entries, by the number in their keys. Names ascend in each index."""
        return {self._entry_numbers[number]: index.stored_as for number, index in self._indexes.items()}

    def incomplete_indexes(self, collection_id: str) -> dict[int, CompositeIndex]:
        """Return the composite indexes of a collection group to build, like `stored_indexes`."""
        return {
            self._entry_numbers[number]: index.stored_as
            for number, index in self._indexes.items()
            if index.collection_id == collection_id and number not in self._complete
        }

    def indexer(self, collection_id: str) -> DocumentIndexer:
        """Return the indexer for all indexes of a collection group."""
        indexer = self._indexers.get(collection_id)
        if indexer is None:
            indexer = DocumentIndexer(collection_id, self.definitions, self.stored_indexes())
            self._indexers[collection_id] = indexer
        return indexer

    def build_indexer(self, collection_id: str) -> DocumentIndexer | None:
        """Return an indexer for the entries that an index build adds. Return None if the indexes are complete."""
        composite_indexes = self.incomplete_indexes(collection_id)
        if self._has_incomplete_fields(collection_id):
            existing = self.earlier[collection_id]
            return DocumentIndexer(collection_id, self.definitions, composite_indexes, existing)
        if not composite_indexes:
            return None
        no_single_field_indexes = Definitions(field_overrides={(collection_id, ANY_FIELD): frozenset()})
        return DocumentIndexer(collection_id, no_single_field_indexes, composite_indexes)

    def _has_incomplete_fields(self, collection_id: str) -> bool:
        earlier = self.earlier.get(collection_id, ())
        # Between two defined paths, all fields have the same indexes. ANY_FIELD stands for fields without a definition.
        paths = {ANY_FIELD}.union(*(each.defined_paths(collection_id) for each in (self.definitions, *earlier)))
        return any(
            self.definitions.entry_kinds(collection_id, path) - each.entry_kinds(collection_id, path)
            for path in paths
            for each in earlier
        )

    def is_complete(self, index: CompositeIndex) -> bool:
        """Return whether queries may use an index."""
        return index in self.readable.composite_indexes

    def add(self, connection: sqlite3.Connection, index: CompositeIndex) -> None:
        """Register an index, so that writes update it."""
        if index in self._indexes.values():
            return
        number = max([0, *self._indexes, *self._entry_numbers.values(), *self.dropped]) + 1
        reverse = next((other for other, known in self._indexes.items() if known.stored_as == index.stored_as), number)
        self._indexes[number] = index
        self._entry_numbers[number] = self._entry_numbers.get(reverse, number)
        if reverse in self._complete:
            self._complete.add(number)
        row = number, index.to_json(), self._entry_numbers[number], number in self._complete
        connection.execute("INSERT INTO composites (id, definition, entries, complete) VALUES (?, ?, ?, ?)", row)
        self._refresh()

    def drop(self, connection: sqlite3.Connection, number: int) -> None:
        """Remove an index. The next build deletes its entries, unless its exact reverse uses them."""
        connection.execute("DELETE FROM composites WHERE id = ?", (number,))
        index, entry_number = self._indexes.pop(number), self._entry_numbers.pop(number)
        self._complete.discard(number)
        if entry_number not in self._entry_numbers.values():
            connection.execute("INSERT INTO dropped_composites VALUES (?, ?)", (entry_number, index.collection_id))
            self.dropped[entry_number] = index.collection_id
        self._refresh()

    def finish(self, connection: sqlite3.Connection, collection_id: str) -> None:
        """Mark all indexes of a collection group as complete, and remove its dropped indexes."""
        for number, index in self._indexes.items():
            if index.collection_id == collection_id and number not in self._complete:
                connection.execute("UPDATE composites SET complete = 1 WHERE id = ?", (number,))
                self._complete.add(number)
        if collection_id in self.dropped.values():
            connection.execute("DELETE FROM dropped_composites WHERE collection_id = ?", (collection_id,))
            self.dropped = {number: group for number, group in self.dropped.items() if group != collection_id}
        if collection_id in self.earlier:
            connection.execute("DELETE FROM index_builds WHERE collection_id = ?", (collection_id,))
            del self.earlier[collection_id]
        self._refresh()
