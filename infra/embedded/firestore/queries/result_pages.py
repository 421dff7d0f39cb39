"""The results of a query, page by page.

Each page uses a new SQLite transaction and the same read time. A slow client or a large result therefore needs little
memory, and does not prevent a reset of the write-ahead log. A page also ends, even without a result, if the search for
the next result takes long.
"""

import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from infra.embedded.firestore.errors import failed_precondition
from infra.embedded.firestore.indexes.definitions import CompositeIndex
from infra.embedded.firestore.messages import Document
from infra.embedded.firestore.queries import planner
from infra.embedded.firestore.queries.planner import IndexNotReady, MissingIndex
from infra.embedded.firestore.queries.scanner import PAGE_DOCUMENTS, Progress, Scan, StoredResult
from infra.embedded.firestore.queries.sort_order import KeyedDocument, SortKey
from infra.embedded.firestore.queries.structured_query import Query
from infra.embedded.firestore.storage import versions
from infra.embedded.firestore.storage.storage import Storage

PAGE_BYTES = 1 << 20
MAX_SEARCH_SECONDS = 0.1
"""After this time, a page ends at the next place without a result. During a long read, the write-ahead log cannot be
reset.
"""

T = TypeVar("T")


async def stream(
    storage: Storage, query: Query, read_time: int, page_size: int = PAGE_DOCUMENTS
) -> AsyncIterator[KeyedDocument]:
    """Yield the results of a query at a read time, each with its sort key, in order."""
    async for page in pages(storage, query, read_time, page_size):
        for key, document in page:
            yield key, Document.FromString(document)


async def pages(
    storage: Storage,
    query: Query,
    read_time: int,
    page_size: int = PAGE_DOCUMENTS,
    *,
    keys_only: bool = False,
    progress: Progress | None = None,
) -> AsyncIterator[list[StoredResult]]:
    """Yield the same results page by page, without parsing the documents. With `keys_only`, documents can be empty.

    `progress` counts what the pages read.
    """
    _check_vector_index(storage, query)
    to_skip, to_yield, progress = query.offset, query.limit, progress or Progress()
    while to_yield is None or to_yield > 0:
        limit = page_size if to_yield is None else min(page_size, to_skip + to_yield)
        page, end = await _read_page(storage, query, read_time, limit, progress, keys_only=keys_only)
        yield page[to_skip:] if to_skip else page
        if end is None:
            return
        if to_yield is not None:
            to_yield -= max(0, len(page) - to_skip)
        to_skip = max(0, to_skip - len(page))
        query = query.starting_after(end)


def _check_vector_index(storage: Storage, query: Query) -> None:
    required = planner.required_vector_index(query)
    if required is None or storage.creates_indexes or required in storage.indexes.definitions.vector_indexes:
        return
    raise failed_precondition(
        f"Missing vector index configuration. Add this index to firestore.indexes.json: {required.to_json()}"
    )


async def _read_page(
    storage: Storage, query: Query, read_time: int, limit: int, progress: Progress, *, keys_only: bool
) -> tuple[list[StoredResult], SortKey | None]:
    """Return the next results, up to `limit`, and the key after which the search continues. None: no more exist."""

    def read(connection: sqlite3.Connection) -> tuple[list[StoredResult], SortKey | None]:
        # Plan before the first SELECT. Otherwise the plan could use an index that is not complete in this transaction.
        collection_ids = [collection_id for _, collection_id in storage.catalog.collections_in(query.parent.database)]
        indexes = storage.indexes
        key_ranges = planner.plan(query, collection_ids, indexes)
        versions.check_retained(connection, read_time)
        scan = Scan(
            connection,
            storage.catalog,
            indexes,
            storage.earlier_results,
            query,
            read_time,
            keys_only=keys_only,
            progress=progress,
        )
        page_limit = limit if scan.has_all_changes else min(limit, PAGE_DOCUMENTS)
        page: list[StoredResult] = []
        deadline = time.monotonic() + MAX_SEARCH_SECONDS
        end: SortKey | None = None
        for key, document in scan.run(key_ranges, page_limit):
            if end is not None and key != end:  # an earlier version with the same key can follow a changed document
                return page, end
            if document is not None:
                page.append((key, document))
                if len(page) >= page_limit or scan.read_bytes > PAGE_BYTES:
                    return page, key
            elif time.monotonic() >= deadline:
                end = key
        return page, None

    return await read_with_indexes(storage, read)


async def read_with_indexes(storage: Storage, read: Callable[[sqlite3.Connection], T]) -> T:
    """Run `read`. If an index is missing, create it and run `read` again, or raise `StatusError`."""
    created: set[CompositeIndex] = set()
    while True:
        try:
            return await storage.read(read)
        except MissingIndex as missing:
            if missing.index in created:
                raise  # a bug in the planner: it requires an index but does not use it
            created.add(missing.index)
            if not storage.creates_indexes:
                definition = storage.indexes.definitions.missing_definition(missing.index)
                raise failed_precondition(
                    f"The query requires an index. Add this index to firestore.indexes.json: {definition}"
                ) from None
            await storage.create_index(missing.index)
        except IndexNotReady as building:
            if not storage.creates_indexes:
                progress = storage.index_builds.get(building.collection_id, "the last step is running")
                raise failed_precondition(
                    "The query requires an index. That index is currently building and cannot be used yet: "
                    f"collection group {building.collection_id}, {progress}."
                ) from None
            await storage.wait_for_indexes(building.collection_id)
