"""PartitionQuery: split points that divide a collection group into parts of similar size."""

from collections.abc import Sequence
from typing import Any

from infra.embedded.firestore.encoding.field_paths import DOCUMENT_ID
from infra.embedded.firestore.errors import invalid_argument
from infra.embedded.firestore.queries import structured_query

MIN_PARTITION_SIZE = 128


def check(query: structured_query.Query) -> None:
    """Raise `StatusError` if a query cannot be partitioned."""
    if (
        query.where is not None
        or query.limit is not None
        or query.offset
        or query.lower is not None
        or query.upper is not None
        or query.find_nearest is not None
    ):
        raise invalid_argument("Partition queries cannot have filters, cursors, an offset or a limit.")
    if [(order.field, order.descending) for order in query.orders] != [(DOCUMENT_ID, False)]:
        raise invalid_argument("Partition queries must be ordered by __name__ ascending.")
    if not query.all_descendants:
        raise invalid_argument("Partition queries must be of a collection group (all descendants).")


class Partitioner:
    """Finds split points in one pass.

    A partitioner samples every n-th name. If there are too many samples, it doubles n and drops every second sample.
    """

    def __init__(self, max_split_points: int) -> None:
        self._max_split_points = max_split_points
        self._interval = MIN_PARTITION_SIZE
        self._count = 0
        self._samples: list[tuple[int, str]] = []

    def add(self, document: Any) -> None:
        """Process the next document. The caller adds documents in name order."""
        self._count += 1
        if self._count % self._interval == 0:
            self._samples.append((self._count, document.name))
            if len(self._samples) > 4 * self._max_split_points + 4:
                self._interval *= 2
                self._samples = [sample for sample in self._samples if sample[0] % self._interval == 0]

    def split_points(self) -> Sequence[str]:
        """Return at most `max_split_points` names. Each partition has at least `MIN_PARTITION_SIZE` documents."""
        names = [name for position, name in self._samples if self._count - position >= MIN_PARTITION_SIZE]
        size = min(self._max_split_points, len(names))
        return [names[number * len(names) // size] for number in range(size)]
