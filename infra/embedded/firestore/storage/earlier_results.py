"""A memory of the results of queries at earlier read times, for documents that have changed since.

Index entries describe the newest versions only. An export reads many pages at one read time, so it would otherwise
search all later changes for each page.
"""

import threading
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from cachetools import LRUCache

MAX_RESULTS = 100_000
"""The results that are remembered for all queries together. A result takes 370 to 670 bytes, with usual sort keys."""

_QUERY_RESULTS = 500
"""A query counts as this number of results, because it can have 50 KB of operands."""

LocatedResult = tuple[tuple[bytes, ...], int, bytes]
"""A sort key, and the number of the collection and the path of the document."""


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive results of a query whose documents have changed since its read time."""

    start: Any
    """The position after which the results start: a bound of the query, or None."""
    sequence: int
    """All changes up to this sequence are included."""
    results: list[LocatedResult]
    """In the order of the query. Do not change this list, because several threads read it."""
    is_complete: bool
    """Whether the query has no later results."""


class EarlierResults:
    """The windows of the latest queries. Several threads can use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.clear()

    def get(self, query: Hashable) -> Window | None:
        """Return the window of a query at a read time."""
        with self._lock:
            return self._windows.get(query)

    def put(self, query: Hashable, window: Window) -> None:
        """Remember a window, instead of the earlier one of this query. It has far fewer than `MAX_RESULTS` results."""
        with self._lock:
            self._windows[query] = window

    def clear(self) -> None:
        """Forget all windows."""
        with self._lock:
            self._windows = LRUCache[Hashable, Window](MAX_RESULTS, _size)


def _size(window: Window) -> int:
    return len(window.results) + _QUERY_RESULTS
