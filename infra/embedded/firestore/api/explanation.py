"""Query explain: the indexes that a query uses, and what its execution has read.

As in production, a query costs one read operation for each document, and an aggregation one for 1,000 index entries.
"""

import math
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from infra.embedded.firestore.encoding import field_paths
from infra.embedded.firestore.encoding.field_paths import DOCUMENT_ID
from infra.embedded.firestore.indexes import entries
from infra.embedded.firestore.indexes.definitions import ASCENDING, CONTAINS, DESCENDING, IndexField
from infra.embedded.firestore.indexes.index_registry import ReadableIndexes
from infra.embedded.firestore.queries import planner, result_pages
from infra.embedded.firestore.queries.planner import KeyRange
from infra.embedded.firestore.queries.scanner import Progress
from infra.embedded.firestore.queries.structured_query import Query
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.transport.rpc import Call

ENTRIES_PER_READ_OPERATION = 1_000

_MODES = {ASCENDING: "ASC", DESCENDING: "DESC", CONTAINS: "CONTAINS"}


class Explanation:
    """The explanation of one RunQuery or RunAggregationQuery, in its last response."""

    def __init__(self, storage: Storage, request: Any, query: Query, call: Call, last_response: Any) -> None:
        self._storage = storage
        self._query = query
        self._call = call
        self._last_response = last_response
        self._started_at = time.perf_counter()
        self._is_requested = request.HasField("explain_options")
        self.wants_results = not self._is_requested or request.explain_options.analyze
        """Whether the client wants the results too. Otherwise, the query is only planned."""
        self.write: Callable[[Any], Awaitable[None]] = self._write_previous if self._is_requested else call.write
        """Sends a response with a result. If the client wants an explanation, the latest response waits for `send`."""
        self._has_waiting_response = False
        self.progress = Progress()
        """What the pages of the query have read."""
        self.index_entries = 0
        """The index entries that were read without reading documents."""

    async def _write_previous(self, response: Any) -> None:
        if self._has_waiting_response:
            await self._call.write(self._last_response)
        # The caller reuses its message, whose class has encoded documents and no explanation.
        self._last_response.ParseFromString(response.SerializeToString())
        self._has_waiting_response = True

    async def send(self, results: int = 0, documents: int = 0) -> None:
        """Send the last response, with the explanation, if the client has requested it.

        `results` is the number of results, and `documents` is the number of documents among them.
        """
        if not self._is_requested:
            return
        metrics = self._last_response.explain_metrics
        for properties in await result_pages.read_with_indexes(self._storage, self._indexes):
            scope = "Collection group" if self._query.all_descendants else "Collection"
            metrics.plan_summary.indexes_used.add().update({"query_scope": scope, "properties": properties})
        if self.wants_results:
            read_operations = documents + math.ceil(self.index_entries / ENTRIES_PER_READ_OPERATION)
            index_entries = self.progress.documents + self.progress.rejected + self.index_entries
            stats = metrics.execution_stats
            stats.results_returned = results
            stats.read_operations = max(1, read_operations)
            stats.execution_duration.FromMicroseconds(math.ceil(1_000_000 * (time.perf_counter() - self._started_at)))
            stats.debug_stats.update(
                {
                    "billing_details": {
                        "documents_billable": str(documents),
                        "index_entries_billable": str(self.index_entries),
                        "min_query_cost": "0" if read_operations else "1",
                    },
                    "documents_scanned": str(self.progress.documents),
                    "index_entries_scanned": str(index_entries),
                }
            )
        await self._call.write(self._last_response)

    def _indexes(self, connection: sqlite3.Connection) -> Sequence[str]:
        """Return the fields of each index that the query uses, such as `(a ASC, __name__ ASC)`."""
        collections = self._storage.catalog.collections_in(self._query.parent.database)
        indexes = self._storage.indexes
        vector = planner.required_vector_index(self._query)
        if vector is not None:
            parts = [f"{field_paths.to_text(path)} ASC" for path in sorted(vector.equality_fields)]
            search = f"{field_paths.to_text(vector.field)} VECTOR<{vector.dimension}>"
            return [f"({', '.join([*parts, '__name__ ASC', search])})"]
        key_ranges = planner.plan(self._query, [collection_id for _, collection_id in collections], indexes)
        return list(dict.fromkeys(text for key_range in key_ranges for text in _properties(key_range, indexes)))


def _properties(key_range: KeyRange, indexes: ReadableIndexes) -> Sequence[str]:
    """Return the fields of each index of a range. Without an index, the names of the documents are read in order."""
    found = []
    for prefix in key_range.prefixes or (b"",):
        fields = _fields(prefix, key_range, indexes) if prefix else ()
        if DOCUMENT_ID not in {each.path for each in fields}:
            fields = (*fields, IndexField(DOCUMENT_ID, DESCENDING if key_range.reverse else ASCENDING))
        found.append(f"({', '.join(f'{field_paths.to_text(each.path)} {_MODES[each.mode]}' for each in fields)})")
    return found


def _fields(prefix: bytes, key_range: KeyRange, indexes: ReadableIndexes) -> tuple[IndexField, ...]:
    """Return the fields of the index whose keys start with a prefix of a range."""
    index_prefix = entries.index_prefix(prefix)
    number = entries.composite_number(index_prefix)
    if number is None:
        path, (is_by_element, _) = entries.field_of_prefix(index_prefix)
        mode = DESCENDING if key_range.reverse else ASCENDING
        return (IndexField(path, CONTAINS if is_by_element else mode),)
    return next(
        index.fields
        for index, entry_number in indexes.composite_indexes.items()
        if entry_number == number and index.names_descend == key_range.reverse
    )
