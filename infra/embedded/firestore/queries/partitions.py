"""PartitionQuery: cursors that cut a collection group into parts of similar size."""

from collections.abc import Sequence
from typing import Any

from infra.embedded.firestore.encoding.field_paths import DOCUMENT_ID
from infra.embedded.firestore.errors import invalid_argument
from infra.embedded.firestore.queries import structured_query

MIN_PARTITION_SIZE = 128


def check(query: structured_query.Query) -> None:
    """Refuse a query that cannot be cut up."""
    if (
        query.where is not None
        or query.limit is not None
        or query.offset
        or query.lower is not None
        or query.upper is not None
        or query.nearest is not None
    ):
        raise invalid_argument("Partition queries cannot have filters, cursors, an offset or a limit.")
    if [(order.field, order.descending) for order in query.orders] != [(DOCUMENT_ID, False)]:
        raise invalid_argument("Partition queries must be ordered by __name__ ascending.")
    if not query.all_descendants:
        raise invalid_argument("Partition queries must be of a collection group (all descendants).")


class Cutter:
    """Keeps every n-th of the names that go by, and doubles n when it has kept too many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._every = MIN_PARTITION_SIZE
        self._seen = 0
        self._kept: list[tuple[int, str]] = []

    def add(self, document: Any) -> None:
        """Look at the next document in order."""
        self._seen += 1
        if self._seen % self._every == 0:
            self._kept.append((self._seen, document.name))
            if len(self._kept) > 4 * self._most + 4:
                self._every *= 2
                self._kept = [entry for entry in self._kept if entry[0] % self._every == 0]

    def cuts(self) -> Sequence[str]:
        """Return the names to cut at: at most as many as asked for, none closer than the least size."""
        inner = [name for seen, name in self._kept if self._seen - seen >= MIN_PARTITION_SIZE]
        wanted = min(self._most, len(inner))
        return [inner[number * len(inner) // wanted] for number in range(wanted)]
