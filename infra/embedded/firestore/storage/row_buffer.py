"""A buffer for the rows of a group commit, which writes all rows together.

One statement with many sorted rows is much cheaper than many statements, and changes each page of an index only once.
Until the rows are written, other jobs of the same group read documents from the buffer.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from infra.embedded.firestore.encoding import checksums
from infra.embedded.firestore.indexes.entry_tables import EntryTables
from infra.embedded.firestore.parameter_lists import padded
from infra.embedded.firestore.storage import versions
from infra.embedded.firestore.storage.versions import DocumentVersion

DocumentKey = tuple[int, bytes]
"""Collection number and path."""


class RowBuffer:
    """The rows that a group commit will write."""

    def __init__(self, connection: sqlite3.Connection, entry_tables: EntryTables) -> None:
        self._connection = connection
        self._entry_tables = entry_tables
        self._sequence = versions.newest(connection)[0]
        self._documents: dict[DocumentKey, DocumentVersion | None] = {}
        self._absent: set[DocumentKey] = set()
        self._versions: list[tuple[int, int, int | None, int, bytes, bytes | None, int | None]] = []
        self._history: list[tuple[int, bytes, int, int]] = []
        self._entries: defaultdict[int, dict[bytes, int]] = defaultdict(dict)
        self._obsolete_entries: set[tuple[int, bytes]] = set()  # entries to delete before `_entries` are added

    def prefetch_absent(self, collection_number: int, paths: Sequence[bytes]) -> None:
        """Record which documents do not exist, with one statement, so that `current` does not query for them."""
        parameters = padded(paths)
        marks = ", ".join("?" * len(parameters))
        sql = f"SELECT path FROM documents WHERE collection_number = ? AND path IN ({marks})"  # noqa: S608 - the marks are question marks
        existing = {path for (path,) in self._connection.execute(sql, (collection_number, *parameters))}
        self._absent.update((collection_number, path) for path in paths if path not in existing)

    def current(self, collection_number: int, path: bytes) -> DocumentVersion | None:
        """Return the current version of a document, including buffered writes."""
        key = collection_number, path
        if key in self._documents:
            return self._documents[key]
        if key in self._absent:
            return None
        return versions.current(self._connection, collection_number, path)

    def add_version(
        self,
        collection_number: int,
        path: bytes,
        previous: DocumentVersion | None,
        document: bytes | None,
        commit_time: int,
    ) -> int:
        """Add a version (None: the document is deleted) and return its sequence."""
        self._sequence += 1
        previous_sequence = None if previous is None else previous.sequence
        checksum = None if document is None else checksums.of(document, self._sequence)
        self._versions.append(
            (self._sequence, commit_time, previous_sequence, collection_number, path, document, checksum)
        )
        if previous is not None:
            self._history.append((collection_number, path, commit_time, previous.sequence))
        version = None if document is None else DocumentVersion(self._sequence, commit_time, document)
        self._documents[collection_number, path] = version
        return self._sequence

    def replace_entries(self, collection_number: int, old: dict[bytes, int], new: dict[bytes, int]) -> None:
        """Replace the index entries `old` of a document with `new`."""
        entries = self._entries[collection_number]
        for key in old.keys() - new.keys():
            entries.pop(key, None)
            self._obsolete_entries.add((collection_number, key))
        if old:
            new = {key: size for key, size in new.items() if key not in old}
        entries.update(new)

    def flush(self) -> None:
        """Write all buffered rows."""
        self._absent.clear()
        if not self._versions:
            return
        self._write("INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?)", self._versions)
        self._write("INSERT INTO history VALUES (?, ?, ?, ?)", sorted(self._history))
        keys = sorted(self._documents)
        deleted = [key for key in keys if self._documents[key] is None]
        stored = [(*key, version.sequence) for key in keys if (version := self._documents[key]) is not None]
        self._write("DELETE FROM documents WHERE collection_number = ? AND path = ?", deleted)
        self._write("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", stored)
        if self._obsolete_entries:
            self._entry_tables.delete(sorted(self._obsolete_entries))
        for number, entries in self._entries.items():
            self._entry_tables.add([(number, key, entries[key]) for key in sorted(entries)])
        for buffer in (self._documents, self._versions, self._history, self._entries, self._obsolete_entries):
            buffer.clear()

    def _write(self, statement: str, rows: Sequence[Any]) -> None:
        if rows:
            self._connection.executemany(statement, rows)
