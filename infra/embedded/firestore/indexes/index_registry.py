"""Indexes as they come and go: which are complete, which are being built, and building them.

An index is kept up to date by every write from the moment that it is known, and filled in steps from
what was there before; only then do queries use it. Each step is a piece of work for the writer, between
others, so that building an index holds nobody up for long. An index and its reverse have their entries in
common, under the number of the one that came first; they stay as long as either is there.
"""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from infra.embedded.firestore.encoding import path_encoding
from infra.embedded.firestore.indexes import definitions, entries
from infra.embedded.firestore.indexes.catalog import Catalog
from infra.embedded.firestore.indexes.definitions import Composite, Definitions
from infra.embedded.firestore.indexes.entries import Indexing
from infra.embedded.firestore.messages import Document

STEP = 500

_NEXT = """
SELECT d.path, v.document FROM documents d JOIN versions v ON v.sequence = d.version
WHERE d.collection_number = ? AND d.path > ? ORDER BY d.path LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class Indexes:
    """What is defined, and the composite indexes that are complete, with the numbers of their entries."""

    defined: Definitions
    composites: Mapping[Composite, int]


class Registry:
    """All indexes of a file. Changed on the writer's thread alone; what readers see is replaced as a whole."""

    def __init__(self, defined: Definitions) -> None:
        self.defined = defined
        self._numbered: dict[int, Composite] = {}
        self._entries: dict[int, int] = {}  # the number that the entries of an index bear
        self._complete: set[int] = set()
        self._indexing: dict[str, Indexing] = {}
        self.readable = Indexes(defined, {})

    def load(self, connection: sqlite3.Connection) -> None:
        """Read which composite indexes the file has."""
        rows = connection.execute("SELECT id, definition, entries, complete FROM composites").fetchall()
        self._numbered = {number: definitions.parse_composite(json.loads(text)) for number, text, _, _ in rows}
        self._entries = {number: entries for number, _, entries, _ in rows}
        self._complete = {number for number, _, _, complete in rows if complete}
        self._refresh()

    def _refresh(self) -> None:
        self._indexing = {}
        ready = {index: self._entries[number] for number, index in self._numbered.items() if number in self._complete}
        self.readable = Indexes(self.defined, ready)

    def indexing(self, collection_id: str) -> Indexing:
        """Return what computes the entries of documents of a collection group."""
        found = self._indexing.get(collection_id)
        if found is None:
            found = Indexing(collection_id, self.defined, self.stored())
            self._indexing[collection_id] = found
        return found

    def add(self, connection: sqlite3.Connection, index: Composite) -> int:
        """Keep an index up to date from now on, and return its number."""
        for number, known in self._numbered.items():
            if known == index:
                return number
        number = max(self._numbered, default=0) + 1
        reverse = next((other for other, known in self._numbered.items() if known.rising == index.rising), number)
        self._numbered[number] = index
        self._entries[number] = self._entries.get(reverse, number)
        if reverse in self._complete:
            self._complete.add(number)
        row = number, index.text(), self._entries[number], number in self._complete
        connection.execute("INSERT INTO composites (id, definition, entries, complete) VALUES (?, ?, ?, ?)", row)
        self._refresh()
        return number

    def is_complete(self, number: int) -> bool:
        """Return whether an index can be used."""
        return number in self._complete

    def finish(self, connection: sqlite3.Connection, number: int) -> None:
        """Let queries use an index."""
        connection.execute("UPDATE composites SET complete = 1 WHERE id = ?", (number,))
        self._complete.add(number)
        self._refresh()

    def drop(self, connection: sqlite3.Connection, number: int) -> None:
        """Take an index away, with its entries unless its reverse needs them."""
        connection.execute("DELETE FROM composites WHERE id = ?", (number,))
        index, base = self._numbered.pop(number), self._entries.pop(number)
        self._complete.discard(number)
        self._refresh()
        if base not in self._entries.values():
            low = entries.composite(base)
            owner = (index.collection_id,)
            collections = connection.execute("SELECT number FROM collections WHERE collection_id = ?", owner).fetchall()
            connection.executemany(
                "DELETE FROM entries WHERE collection_number = ? AND key >= ? AND key < ?",
                [(collection_number, low, low + path_encoding.AFTER_ALL) for (collection_number,) in collections],
            )

    def numbered(self) -> dict[int, Composite]:
        """Return every index by its number."""
        return dict(self._numbered)

    def stored(self) -> dict[int, Composite]:
        """Return every index that has entries, by the number that they bear; in all of them names rise."""
        return {self._entries[number]: index.rising for number, index in self._numbered.items()}

    def only(self, number: int) -> Indexing:
        """Return what computes the entries of one composite index and no others."""
        index = self._numbered[number].rising
        nothing = Definitions(overrides={(index.collection_id, definitions.ANY_FIELD): frozenset()})
        return Indexing(index.collection_id, nothing, {self._entries[number]: index})

    def fill(
        self, connection: sqlite3.Connection, collection_number: int, indexing: Indexing, after: bytes
    ) -> bytes | None:
        """Add missing entries for some documents behind a path; return the last path, None at the end."""
        rows = connection.execute(_NEXT, (collection_number, after, STEP)).fetchall()
        for path, document in rows:
            keys = indexing.entries(path, path_encoding.decode_path(path)[-1], Document.FromString(document))
            connection.executemany(
                "INSERT OR IGNORE INTO entries (collection_number, key, size) VALUES (?, ?, ?)",
                [(collection_number, key, size) for key, size in keys.items()],
            )
        return rows[-1][0] if len(rows) == STEP else None


def renew(connection: sqlite3.Connection) -> None:
    """Forget the composite indexes of a file in which falling ones have entries of their own; `adopt` builds them."""
    columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(composites)")}
    if columns and "entries" not in columns:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM entries WHERE key >= ? AND key < ?", entries.COMPOSITES)
        connection.execute("DROP TABLE composites")
        connection.execute("COMMIT")


def adopt(connection: sqlite3.Connection, catalog: Catalog, registry: Registry, strict: bool) -> None:
    """Make the file's indexes what the definitions say, before anybody uses it.

    With `strict`, composite indexes that are not defined are dropped.
    """
    registry.load(connection)
    wanted = set(registry.defined.composites)
    for number, index in registry.numbered().items():
        if (strict and index not in wanted) or not registry.is_complete(number):
            registry.drop(connection, number)
    stale = {index.collection_id for index in wanted - set(registry.numbered().values())}
    for index in registry.defined.composites:
        registry.finish(connection, registry.add(connection, index))
    stale |= _changed_overrides(connection, registry.defined)
    for (_, collection_id), collection_number in list(catalog.numbers.items()):
        if collection_id in stale or "*" in stale:
            connection.execute("DELETE FROM entries WHERE collection_number = ?", (collection_number,))
            after: bytes | None = b""
            while after is not None:
                after = registry.fill(connection, collection_number, registry.indexing(collection_id), after)


def _changed_overrides(connection: sqlite3.Connection, defined: Definitions) -> set[str]:
    """Return the collection groups whose fields are indexed otherwise than when the file was last open."""
    spelled: dict[str, list[str]] = {}
    for (collection_id, path), override in defined.overrides.items():
        spelled.setdefault(collection_id, []).append(repr((path, sorted(override))))
    for collection_id, path in defined.expiries.items():
        spelled.setdefault(collection_id, []).append(repr(("ttl", path)))
    new = {collection_id: sorted(parts) for collection_id, parts in spelled.items()}
    row = connection.execute("SELECT value FROM settings WHERE name = 'overrides'").fetchone()
    old = json.loads(row[0]) if row else {}
    connection.execute("INSERT OR REPLACE INTO settings VALUES ('overrides', ?)", (json.dumps(new),))
    return {
        collection_id for collection_id in old.keys() | new.keys() if old.get(collection_id) != new.get(collection_id)
    }
