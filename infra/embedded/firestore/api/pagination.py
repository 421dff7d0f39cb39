"""Pages of ListDocuments, ListCollectionIds and PartitionQuery."""

import contextlib
import re
import sqlite3
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import replace
from typing import Any

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.api import page_tokens, partitions
from infra.embedded.firestore.api.consistent_read import ConsistentRead
from infra.embedded.firestore.encoding import path_encoding, resource_names, values
from infra.embedded.firestore.encoding.field_paths import apply_mask, read_mask
from infra.embedded.firestore.errors import invalid_argument
from infra.embedded.firestore.indexes.catalog import Catalog
from infra.embedded.firestore.queries import restrictions, sort_order, structured_query
from infra.embedded.firestore.queries.sort_order import Bound
from infra.embedded.firestore.storage import versions
from infra.embedded.firestore.storage.storage import Storage

MAX_PAGE_SIZE = 300
MAX_PAGE_BYTES = 2 * 1024 * 1024  # with one more document, a page has less than the 4 MiB that a gRPC client accepts

_order = re.compile(r"\s*((?:[^\s,`]|`(?:[^`\\]|\\.)*`)+)(?:\s+(asc|desc))?\s*(,|\Z)", re.DOTALL | re.IGNORECASE)
"""A field path, a direction and a comma or the end. Quotes in the path can contain spaces and commas."""

_NEXT_PATH = """
WITH live AS (
    SELECT min(path) AS path FROM documents
    WHERE collection_number = :collection_number AND path >= :low AND path < :high
)
SELECT coalesce(
    (
        SELECT min(path) FROM history
        WHERE collection_number = :collection_number
            AND path >= :low AND path < coalesce((SELECT path FROM live), :high) AND until > :read_time
    ),
    (SELECT path FROM live)
)
"""
"""The history is searched only up to the next document, so that a list reads each row of the history at most once."""


async def list_documents(storage: Storage, read: ConsistentRead, request: Any) -> Any:
    """Return a ListDocumentsResponse: one page of the documents in a collection."""
    if request.show_missing and (request.order_by or not request.collection_id):
        raise invalid_argument("show_missing needs a collection id and no order_by.")
    selector = m.StructuredQuery.CollectionSelector(collection_id=request.collection_id)
    query = structured_query.read(
        request.parent, m.StructuredQuery(from_=[selector], order_by=_orders(request.order_by))
    )
    size, mask = _page_size(request), read_mask(request)
    position = _resume(storage, read, request)
    if position:
        query = query.starting_after(position)
    if request.show_missing:
        found = _with_missing(storage, read, query, request.collection_id, size)
    else:
        found = read.query(replace(query, limit=size))
    response = m.ListDocumentsResponse()
    response_bytes = 0
    async with contextlib.aclosing(found):
        async for key, document in found:
            response.documents.append(apply_mask(document, mask))
            response_bytes += response.documents[-1].ByteSize()
            is_full = response_bytes > MAX_PAGE_BYTES
            if is_full or len(response.documents) == size:
                response.next_page_token = page_tokens.create(request, read.read_time, key)
            if is_full:
                break
    return response


async def _with_missing(
    storage: Storage, read: ConsistentRead, query: structured_query.Query, collection_id: str, size: int
) -> AsyncGenerator[sort_order.KeyedDocument]:
    """Yield the documents of a collection. A missing document that has descendants is an empty document."""
    collection = resource_names.ResourceName(query.parent.database, (*query.parent.segments, collection_id))
    end = Bound((collection.path + path_encoding.AFTER_ALL,), after=True)
    start = Bound((collection.path,), after=False)
    await read.protect(replace(query, collection_id=None, all_descendants=True, lower=start, upper=end))
    after = path_encoding.decode_path(query.lower.prefix[0][:-1])[-1] if query.lower else None
    ids = await _segments_beneath(storage, read, collection, after, size)
    listed = [resource_names.ResourceName(collection.database, (*collection.segments, each)) for each in ids]
    names = iter(listed)
    async for page in read.document_pages(listed):
        for stored, name in zip(page, names, strict=False):
            document = m.Document(name=str(name)) if stored is None else m.Document.FromString(stored.document)
            yield (name.path + values.END,), document


async def list_collection_ids(storage: Storage, read: ConsistentRead, request: Any) -> Any:
    """Return a ListCollectionIdsResponse: one page of the collection ids below a document or the root."""
    position = _resume(storage, read, request)
    size = _page_size(request)
    after = position[0].decode() if position else None
    ids = await _segments_beneath(storage, read, resource_names.parse_parent(request.parent), after, size)
    token = page_tokens.create(request, read.read_time, (ids[-1].encode(),)) if len(ids) == size else ""
    return m.ListCollectionIdsResponse(collection_ids=ids, next_page_token=token)


async def partition_query(storage: Storage, read: ConsistentRead, request: Any) -> Any:
    """Return a PartitionQueryResponse: one page of cursors that divide a collection group.

    Each request computes all cursors again, at the read time of the first page.
    """
    query = structured_query.read(request.parent, request.structured_query)
    partitions.check(query)
    if request.partition_count <= 0:
        raise invalid_argument("partition_count must be greater than zero.")
    _page_size(request)  # raises if the size is negative; a page can have more than `MAX_PAGE_SIZE` partitions
    position = _resume(storage, read, request)
    partitioner = partitions.Partitioner(request.partition_count)
    async for _, document in read.query(query):
        partitioner.add(document)
    found = [(resource_names.parse(name).path, name) for name in partitioner.split_points()]
    remaining = [(path, name) for path, name in found if (path,) > position]
    response = m.PartitionQueryResponse()
    for path, name in remaining[: request.page_size or None]:
        response.partitions.append(m.Cursor(values=[m.Value(reference_value=name)], before=True))
        if len(response.partitions) == request.page_size < len(remaining):
            response.next_page_token = page_tokens.create(request, read.read_time, (path,))
    return response


async def _segments_beneath(
    storage: Storage, read: ConsistentRead, parent: resource_names.ResourceName, after: str | None, limit: int
) -> list[str]:
    read_time = (await read.settle()).read_time

    def find(connection: sqlite3.Connection) -> list[str]:
        versions.check_retained(connection, read_time)
        return child_segments(connection, storage.catalog, parent, after, limit, read_time)

    return await storage.read(find)


def child_segments(
    connection: sqlite3.Connection,
    catalog: Catalog,
    parent: resource_names.ResourceName,
    after: str | None,
    limit: int,
    read_time: int,
) -> list[str]:
    """Return the distinct child segments of `parent` that lead to documents: sorted, after `after`, at most `limit`.

    These are the ids of collections below a document, or of documents in a collection. A missing document is included
    if documents below it exist. The cost depends on the number of these segments, not of the documents below them.
    """
    segments: set[str] = set()
    for collection_number, _ in catalog.collections_in(parent.database):
        in_collection = _segments(connection, collection_number, parent.path, after, read_time)
        segments.update(segment for segment, _ in zip(in_collection, range(limit), strict=False))
    return sorted(segments, key=path_encoding.encode_segment)[:limit]


def _segments(
    connection: sqlite3.Connection, collection_number: int, prefix: bytes, after: str | None, read_time: int
) -> Iterator[str]:
    low = prefix + path_encoding.NUMERIC_TAG
    if after is not None:
        low = prefix + path_encoding.encode_segment(after) + path_encoding.AFTER_ALL
    high = prefix + path_encoding.AFTER_ALL
    while True:
        parameters = {"collection_number": collection_number, "low": low, "high": high, "read_time": read_time}
        (path,) = connection.execute(_NEXT_PATH, parameters).fetchone()
        if path is None:
            return
        if not versions.existed(connection, collection_number, path, read_time):
            low = path + b"\0"
            continue
        segment = path_encoding.decode_path(path[len(prefix) :])[0]
        yield segment
        low = prefix + path_encoding.encode_segment(segment) + path_encoding.AFTER_ALL


def _page_size(request: Any) -> int:
    if request.page_size < 0:
        raise invalid_argument("page_size cannot be negative.")
    return min(request.page_size or MAX_PAGE_SIZE, MAX_PAGE_SIZE)


def _orders(text: str) -> Sequence[Any]:
    """Return the orders of an `order_by` text such as ``a, `b c` desc``, or raise `StatusError`."""
    orders: list[Any] = []
    position, separator = 0, "," if text else ""
    while separator and len(orders) <= restrictions.MAX_CONDITIONS:  # more are refused with the query
        match = _order.match(text, position)
        if match is None:
            raise invalid_argument(f'Invalid order by clause "{text}".')
        path, direction, separator = match.groups("asc")
        order = m.StructuredQuery.Order(direction=2 if direction.lower() == "desc" else 1)
        order.field.field_path = path
        orders.append(order)
        position = match.end()
    return orders


def _resume(storage: Storage, read: ConsistentRead, request: Any) -> sort_order.SortKey:
    """Set the read time from a page token, and return the position where the page ended; `()` without a token."""
    if not request.page_token:
        return ()
    read_time, position = page_tokens.read(request)
    read.resume_at(storage.check_read_time(read_time))
    return position
