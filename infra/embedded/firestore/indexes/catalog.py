"""Short numbers for long names: a kind is one collection id in one database.

Rows carry the number. The writer adds numbers inside its transaction and takes back what was rolled
back; readers look them up and find nothing under a number they cannot see yet.
"""

import sqlite3
from dataclasses import dataclass, field


@dataclass(slots=True)
class Catalog:
    """The numbers in use, in memory and in the file."""

    kinds: dict[tuple[str, str], int] = field(default_factory=dict)
    names: dict[int, tuple[str, str]] = field(default_factory=dict)

    def load(self, connection: sqlite3.Connection) -> None:
        """Read what the file holds, and forget what it does not."""
        rows = connection.execute("SELECT id, database, collection_id FROM kinds").fetchall()
        self.names = {number: (database, collection_id) for number, database, collection_id in rows}
        self.kinds = {name: number for number, name in self.names.items()}

    def kind(self, database: str, collection_id: str) -> int | None:
        """Return the number of a kind, or None if nothing was ever stored of it."""
        return self.kinds.get((database, collection_id))

    def intern_kind(self, connection: sqlite3.Connection, database: str, collection_id: str) -> int:
        """Return the number of a kind, giving it one if need be; for the writer alone."""
        number = self.kinds.get((database, collection_id))
        if number is None:
            cursor = connection.execute(
                "INSERT INTO kinds (database, collection_id) VALUES (?, ?)", (database, collection_id)
            )
            number = int(cursor.lastrowid or 0)
            self.names[number] = (database, collection_id)
            self.kinds[database, collection_id] = number
        return number

    def kinds_of(self, database: str) -> list[tuple[int, str]]:
        """Return number and collection id of every kind in a database."""
        return [(number, kind) for number, (owner, kind) in list(self.names.items()) if owner == database]
