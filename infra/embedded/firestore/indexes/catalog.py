"""Collection numbers: a short number for each pair of database and collection id.

Rows and index entries store this number. The writer assigns numbers inside its transaction. After a rollback, the
writer loads the catalog again. A reader may see a number before its commit, but it then finds no rows with this number.
"""

import sqlite3
from dataclasses import dataclass, field


@dataclass(slots=True)
class Catalog:
    """The collection numbers of a file, in memory."""

    numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    names: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Database and collection id of every number."""

    def load(self, connection: sqlite3.Connection) -> None:
        """Replace the numbers in memory with the numbers in the file."""
        rows = connection.execute("SELECT number, database, collection_id FROM collections").fetchall()
        self.names = {number: (database, collection_id) for number, database, collection_id in rows}
        self.numbers = {name: number for number, name in self.names.items()}

    def number(self, database: str, collection_id: str) -> int | None:
        """Return the number of a collection id, or None if no number is assigned."""
        return self.numbers.get((database, collection_id))

    def add(self, connection: sqlite3.Connection, database: str, collection_id: str) -> int:
        """Return the number of a collection id; assign one if there is none. Only the writer may call this."""
        number = self.numbers.get((database, collection_id))
        if number is None:
            cursor = connection.execute(
                "INSERT INTO collections (database, collection_id) VALUES (?, ?)", (database, collection_id)
            )
            number = int(cursor.lastrowid or 0)
            self.names[number] = (database, collection_id)
            self.numbers[database, collection_id] = number
        return number

    def collections_in(self, database: str) -> list[tuple[int, str]]:
        """Return the number and the collection id of each collection in a database."""
        return [
            (number, collection_id) for number, (owner, collection_id) in list(self.names.items()) if owner == database
        ]
