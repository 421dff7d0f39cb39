"""Rows of a group commit, gathered and written together.

One statement with many sorted rows costs a fraction of many statements, and touches each page of an index
once. Until they are written, what work in the same group reads of documents comes from here.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from infra.embedded.firestore.storage import versions
from infra.embedded.firestore.storage.versions import Stored

Place = tuple[int, bytes]  # a collection_number and a path


class Rows:
    """What a group is going to write."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._sequence = versions.last(connection)[0]
        self._documents: dict[Place, Stored | None] = {}
        self._absent: set[Place] = set()
        self._versions: list[tuple[int, int, int | None, int, bytes, bytes | None]] = []
        self._history: list[tuple[int, bytes, int, int]] = []
        self._entries: defaultdict[int, dict[bytes, int | None]] = defaultdict(dict)

    def look_up(self, collection_number: int, paths: Sequence[bytes]) -> None:
        """Find out at once which documents are not there, so that nobody asks for them one by one."""
        marks = ", ".join("?" * len(paths))
        sql = f"SELECT path FROM documents WHERE collection_number = ? AND path IN ({marks})"  # noqa: S608
        there = {path for (path,) in self._connection.execute(sql, (collection_number, *paths))}
        self._absent.update((collection_number, path) for path in paths if path not in there)

    def current(self, collection_number: int, path: bytes) -> Stored | None:
        """Return the current version of a document."""
        place = collection_number, path
        if place in self._documents:
            return self._documents[place]
        if place in self._absent:
            return None
        return versions.current(self._connection, collection_number, path)

    def add(
        self, collection_number: int, path: bytes, previous: Stored | None, document: bytes | None, commit_time: int
    ) -> int:
        """Add a version (None: the document is deleted) and return its sequence."""
        self._sequence += 1
        self._versions.append(
            (
                self._sequence,
                commit_time,
                None if previous is None else previous.sequence,
                collection_number,
                path,
                document,
            )
        )
        if previous is not None:
            self._history.append((collection_number, path, commit_time, previous.sequence))
        self._documents[collection_number, path] = (
            None if document is None else Stored(self._sequence, commit_time, document)
        )
        return self._sequence

    def index(self, collection_number: int, old: dict[bytes, int], new: dict[bytes, int]) -> None:
        """Replace the index entries of a document."""
        entries = self._entries[collection_number]
        for key in old.keys() - new.keys():
            entries[key] = None
        if old:
            new = {key: size for key, size in new.items() if key not in old}
        entries.update(new)

    def write(self) -> None:
        """Write everything that was gathered."""
        self._absent.clear()
        if not self._versions:
            return
        self._many("INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?)", self._versions)
        self._many("INSERT INTO history VALUES (?, ?, ?, ?)", sorted(self._history))
        places = sorted(self._documents)
        gone = [place for place in places if self._documents[place] is None]
        there = [(*place, stored.sequence) for place in places if (stored := self._documents[place]) is not None]
        self._many("DELETE FROM documents WHERE collection_number = ? AND path = ?", gone)
        self._many("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", there)
        for collection_number, entries in self._entries.items():
            obsolete = [(collection_number, key) for key, size in entries.items() if size is None]
            added = [(collection_number, key, size) for key in sorted(entries) if (size := entries[key]) is not None]
            self._many("DELETE FROM entries WHERE collection_number = ? AND key = ?", obsolete)
            self._many("INSERT OR IGNORE INTO entries VALUES (?, ?, ?)", added)
        for gathered in (self._documents, self._versions, self._history, self._entries):
            gathered.clear()

    def _many(self, statement: str, rows: Sequence[Any]) -> None:
        if rows:
            self._connection.executemany(statement, rows)
