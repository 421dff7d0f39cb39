"""The composite indexes of a data file, and the state of each index.

Writes update an index as soon as it is registered. Queries use an index only when it is complete, after the backfill.
An index and its exact reverse share their entries. The keys contain the number of the index that was registered first.
The entries stay in the file until both indexes are dropped.

Only the writer's thread changes the registry. Readers use `readable`, which the writer replaces as a whole.
"""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from infra.embedded.firestore.encoding import path_encoding
from infra.embedded.firestore.indexes import entries
from infra.embedded.firestore.indexes.definitions import ANY_FIELD, CompositeIndex, Definitions, parse_composite
from infra.embedded.firestore.indexes.entries import DocumentIndexer


@dataclass(frozen=True, slots=True)
class ReadableIndexes:
    """The indexes that queries may use. Each complete composite index maps to the number in its keys."""

    definitions: Definitions
    composite_indexes: Mapping[CompositeIndex, int]


class IndexRegistry:
    """All indexes of a file, by number."""

    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions
        self._indexes: dict[int, CompositeIndex] = {}
        self._entry_numbers: dict[int, int] = {}  # index number to the number in the keys of its entries
        self._complete: set[int] = set()
        self._indexers: dict[str, DocumentIndexer] = {}
        self.readable = ReadableIndexes(definitions, {})

    def load(self, connection: sqlite3.Connection) -> None:
        """Replace the composite indexes in memory with the indexes in the file."""
        rows = connection.execute("SELECT id, definition, entries, complete FROM composites").fetchall()
        self._indexes = {number: parse_composite(json.loads(text)) for number, text, _, _ in rows}
        self._entry_numbers = {number: entry_number for number, _, entry_number, _ in rows}
        self._complete = {number for number, _, _, complete in rows if complete}
        self._refresh()

    def _refresh(self) -> None:
        self._indexers = {}
        complete = {
            index: self._entry_numbers[number] for number, index in self._indexes.items() if number in self._complete
        }
        self.readable = ReadableIndexes(self.definitions, complete)

    def indexes(self) -> dict[int, CompositeIndex]:
        """Return all composite indexes by number."""
        return dict(self._indexes)

    def stored_indexes(self) -> dict[int, CompositeIndex]:
        """Return the composite indexes that have entries, by the number in their keys. Names ascend in each one."""
        return {self._entry_numbers[number]: index.stored_as for number, index in self._indexes.items()}

    def indexer(self, collection_id: str) -> DocumentIndexer:
        """Return the indexer for all indexes of a collection group."""
        indexer = self._indexers.get(collection_id)
        if indexer is None:
            indexer = DocumentIndexer(collection_id, self.definitions, self.stored_indexes())
            self._indexers[collection_id] = indexer
        return indexer

    def single_indexer(self, number: int) -> DocumentIndexer:
        """Return an indexer for the entries of one composite index only."""
        index = self._indexes[number].stored_as
        no_single_field_indexes = Definitions(field_overrides={(index.collection_id, ANY_FIELD): frozenset()})
        return DocumentIndexer(index.collection_id, no_single_field_indexes, {self._entry_numbers[number]: index})

    def is_complete(self, number: int) -> bool:
        """Return whether queries may use an index."""
        return number in self._complete

    def add(self, connection: sqlite3.Connection, index: CompositeIndex) -> int:
        """Register an index, so that writes update it, and return its number."""
        for number, known in self._indexes.items():
            if known == index:
                return number
        number = max(self._indexes, default=0) + 1
        reverse = next((other for other, known in self._indexes.items() if known.stored_as == index.stored_as), number)
        self._indexes[number] = index
        self._entry_numbers[number] = self._entry_numbers.get(reverse, number)
        if reverse in self._complete:
            self._complete.add(number)
        row = number, index.to_json(), self._entry_numbers[number], number in self._complete
        connection.execute("INSERT INTO composites (id, definition, entries, complete) VALUES (?, ?, ?, ?)", row)
        self._refresh()
        return number

    def mark_complete(self, connection: sqlite3.Connection, number: int) -> None:
        """Mark an index as complete, so that queries may use it."""
        connection.execute("UPDATE composites SET complete = 1 WHERE id = ?", (number,))
        self._complete.add(number)
        self._refresh()

    def drop(self, connection: sqlite3.Connection, number: int) -> None:
        """Remove an index. Delete its entries, unless its exact reverse uses them."""
        connection.execute("DELETE FROM composites WHERE id = ?", (number,))
        index, entry_number = self._indexes.pop(number), self._entry_numbers.pop(number)
        self._complete.discard(number)
        self._refresh()
        if entry_number in self._entry_numbers.values():
            return
        prefix = entries.composite_prefix(entry_number)
        rows = connection.execute("SELECT number FROM collections WHERE collection_id = ?", (index.collection_id,))
        connection.executemany(
            "DELETE FROM entries WHERE collection_number = ? AND key >= ? AND key < ?",
            [(collection_number, prefix, prefix + path_encoding.AFTER_ALL) for (collection_number,) in rows.fetchall()],
        )
