"""ListDocuments, ListCollectionIds and PartitionQuery: a page, and a token that the next one begins with.

A token holds the moment and the place where the page ended, so that all pages are of one moment.
"""

import base64
import sqlite3
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.api.reads import Reading
from infra.embedded.firestore.encoding import path_encoding, resource_names, values
from infra.embedded.firestore.encoding.field_paths import apply_mask
from infra.embedded.firestore.errors import invalid_argument
from infra.embedded.firestore.queries import collection_listing, partitions, scanner, structured_query
from infra.embedded.firestore.storage import versions
from infra.embedded.firestore.storage.storage import Storage

MAX_PAGE_SIZE = 300


async def documents(storage: Storage, reading: Reading, request: Any) -> Any:
    """Return a page of the documents in a collection."""
    selector = m.StructuredQuery.CollectionSelector(collection_id=request.collection_id)
    query = structured_query.read(
        request.parent, m.StructuredQuery(from_=[selector], order_by=_orders(request.order_by))
    )
    size = _size(request)
    key = _resume(storage, reading, request.page_token)
    if key:
        query = query.beyond(key)
    if request.show_missing:
        if request.order_by or not request.collection_id:
            raise invalid_argument("show_missing needs a collection id and no order_by.")
        found = _with_missing(storage, reading, query, request.collection_id, size)
    else:
        found = reading.query(replace(query, limit=size))
    response = m.ListDocumentsResponse()
    async for key, document in found:
        response.documents.append(apply_mask(document, request))
        if len(response.documents) == size:
            response.next_page_token = _token(reading.read_time, key)
    return response


async def _with_missing(
    storage: Storage, reading: Reading, query: structured_query.Query, collection_id: str, size: int
) -> AsyncIterator[scanner.Found]:
    """Yield documents, and names of documents that are not there but have some beneath them."""
    collection = resource_names.ResourceName(query.parent.database, (*query.parent.segments, collection_id))
    after = path_encoding.decode_path(query.lower.parts[0][:-1])[-1] if query.lower else None
    ids = await _segments(storage, reading, collection, after, size)
    wanted = [resource_names.ResourceName(collection.database, (*collection.segments, each)) for each in ids]
    for name, stored in zip(wanted, await reading.documents(wanted), strict=True):
        document = m.Document(name=str(name)) if stored is None else m.Document.FromString(stored.document)
        yield (name.path + values.END,), document


async def collection_ids(storage: Storage, reading: Reading, request: Any) -> Any:
    """Return a page of the ids of collections beneath a document or the root."""
    key = _resume(storage, reading, request.page_token)
    size = _size(request)
    after = key[0].decode() if key else None
    found = await _segments(storage, reading, resource_names.parse_parent(request.parent), after, size)
    token = _token(reading.read_time, (found[-1].encode(),)) if len(found) == size else ""
    return m.ListCollectionIdsResponse(collection_ids=found, next_page_token=token)


async def cuts(storage: Storage, reading: Reading, request: Any) -> Any:
    """Return a page of the names that cut a collection group into parts; each page finds all of them anew."""
    query = structured_query.read(request.parent, request.structured_query)
    partitions.check(query)
    if request.partition_count <= 0:
        raise invalid_argument("partition_count must be greater than zero.")
    _size(request)
    after = _resume(storage, reading, request.page_token)
    cutter = partitions.Cutter(request.partition_count)
    async for _, document in reading.query(query):
        cutter.add(document)
    found = [(resource_names.parse(name).path, name) for name in cutter.cuts()]
    rest = [(path, name) for path, name in found if (path,) > after]
    response = m.PartitionQueryResponse()
    for path, name in rest[: request.page_size or None]:
        response.partitions.append(m.Cursor(values=[m.Value(reference_value=name)], before=True))
        if len(response.partitions) == request.page_size < len(rest):
            response.next_page_token = _token(reading.read_time, (path,))
    return response


async def _segments(
    storage: Storage, reading: Reading, parent: resource_names.ResourceName, after: str | None, limit: int
) -> list[str]:
    read_time = (await reading.settle()).read_time

    def find(connection: sqlite3.Connection) -> list[str]:
        versions.check_reach(connection, read_time)
        return collection_listing.segments_beneath(connection, storage.catalog, parent, after, limit, read_time)

    return await storage.read(find)


def _size(request: Any) -> int:
    if request.page_size < 0:
        raise invalid_argument("page_size cannot be negative.")
    return min(request.page_size or MAX_PAGE_SIZE, MAX_PAGE_SIZE)


def _orders(text: str) -> Sequence[Any]:
    orders = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        path, _, direction = part.partition(" ")
        order = m.StructuredQuery.Order(direction=2 if direction.strip().lower() == "desc" else 1)
        order.field.field_path = path
        orders.append(order)
    return orders


def _token(read_time: int, key: structured_query.SortKey) -> str:
    parts = [base64.urlsafe_b64encode(part).decode() for part in key]
    return ".".join((str(read_time), *parts))


def _resume(storage: Storage, reading: Reading, token: str) -> structured_query.SortKey:
    """Return to the moment of a token; return the place where its page ended, or nothing."""
    if not token:
        return ()
    try:
        read_time, *parts = token.split(".")
        key = tuple(base64.urlsafe_b64decode(part) for part in parts)
        reading.go_on_at(storage.past_time(int(read_time)))
    except ValueError:
        raise invalid_argument("The page token is invalid.") from None
    return key
