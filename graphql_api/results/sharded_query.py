"""A query over all shards of a submitter's collection, read as pages, as a scan or as a count.

A separate call reads each shard, and the documents are merged in the order of the query. Calls whose documents are
merged share one read time. With different read times, the merged list could lack an older document of one shard but
contain a newer document of another shard.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from heapq import merge
from itertools import compress, islice, repeat
from typing import Any

from graphql_api.results.ordered_query import OrderedQuery
from graphql_api.results.pagination import Cursor, Page, PageRequest
from storage.documents import document_paths
from storage.firestore.client import Firestore
from storage.firestore.messages import Document
from storage.firestore.reads.page_reader import MIN_DOCUMENTS

DocumentFilter = Callable[[Sequence[Document]], Awaitable[Sequence[bool]]]
"""Returns for each document whether it meets a condition that Firestore cannot check."""

_FILTERED_BATCH_SIZE = 200
_MAX_FILTERED_BATCH_SIZE = 500
_MAX_SCANNED = 2_000
_MIN_SHARD_BATCH_SIZE = 100


class ShardedQuery:
    """The documents of one submitter that match `query` and `document_filter`. Documents are protocol messages.

    If most documents match the filter, a page first reads as many documents as it needs if all of them match.
    """

    def __init__(
        self,
        firestore: Firestore,
        submitter: str,
        shards: int,
        query: OrderedQuery,
        document_filter: DocumentFilter | None = None,
        *,
        matches_most: bool = False,
    ) -> None:
        self._firestore = firestore
        self._shards = shards
        self._query = query
        self._document_filter = document_filter
        self._matches_most = matches_most
        self._parent = document_paths.submitter(submitter)
        self._collection = firestore.name(f"{self._parent}/{query.collection}")

    async def page(self, request: PageRequest) -> Page[Document]:
        """Return the matching documents of `request`.

        With a document filter, a page ends after `_MAX_SCANNED` documents, even if it is not full. A page of size 0
        reads no document, because clients that request it need only the total count.
        """
        if request.size == 0 and self._document_filter is not None:
            return _page(request, [], has_more=True, scanned_to=request.start)
        limit = request.size + 1
        if self._document_filter is not None:
            limit = min(limit, _FILTERED_BATCH_SIZE) if self._matches_most else _FILTERED_BATCH_SIZE
        edges: list[tuple[Cursor, Document]] = []
        position, scanned = request.start, 0
        while scanned < _MAX_SCANNED:
            documents = await self._read(request, position, limit)
            previous = None
            for document, is_match in zip(documents, await self._matches(documents), strict=False):
                if is_match and len(edges) == request.size:
                    scanned_to = position if previous is None else self._query.cursor(previous)
                    return _page(request, edges, has_more=True, scanned_to=scanned_to)
                if is_match:
                    edges.append((self._query.cursor(document), document))
                previous = document
            if previous is not None:
                position = self._query.cursor(previous)
            if len(documents) < limit:
                return _page(request, edges, has_more=False, scanned_to=position)
            scanned += len(documents)
            limit = min(2 * limit, _MAX_FILTERED_BATCH_SIZE, _MAX_SCANNED - scanned)
        return _page(request, edges, has_more=True, scanned_to=position)

    async def first(self) -> Document | None:
        """Return the first matching document, or None. For one document, the shards can have different read times."""
        if self._document_filter is not None:
            page = await self.page(PageRequest(1))
            while page.has_more and not page.edges:  # no document of `_MAX_SCANNED` matched
                page = await self.page(PageRequest(1, after=page.scanned_to))
            return page.edges[0][1] if page.edges else None
        batches = await self._read_shards(PageRequest(1), None, 1, None)
        return next(iter(self._merge(batches, backward=False)), None)

    async def first_documents(self, size: int) -> list[Document]:
        """Return the first `size` documents. Not for queries with a document filter."""
        return await self._read(PageRequest(size), None, size)

    def scan(
        self, batch_size: int = _FILTERED_BATCH_SIZE, read_time: datetime | None = None
    ) -> AsyncGenerator[list[Document], None]:
        """Yield all matching documents in order, about `batch_size` at a time, at `read_time` or now.

        Firestore reads a batch while the caller processes the previous batch.
        """
        return self._scan(batch_size, read_time, is_encoded=False)

    def scan_encoded(self, batch_size: int) -> AsyncGenerator[list[Any], None]:
        """Yield the same documents as `scan`, with encoded values, as `Firestore.encoded_page` returns them."""
        return self._scan(batch_size, None, is_encoded=True)

    async def _scan(
        self, batch_size: int, read_time: datetime | None, *, is_encoded: bool
    ) -> AsyncGenerator[list[Any], None]:
        read_time = read_time or await self._firestore.now()
        limit = max(batch_size // self._shards, _MIN_SHARD_BATCH_SIZE)
        read = partial(self._read_shards, PageRequest(0), limit=limit, read_time=read_time, is_encoded=is_encoded)
        batches, following = await read(None), None
        try:
            while True:
                documents, has_more = self._merge_complete(batches, limit)
                if has_more:
                    position = self._query.cursor(documents[-1])
                    following = asyncio.create_task(read(position))
                if documents:
                    yield await self._select(documents)
                if not has_more or following is None:
                    return
                batches = await following
        finally:
            if following is not None:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)

    async def scan_latest(self, batch_size: int) -> AsyncGenerator[list[Document], None]:
        """Yield all matching documents in order, up to `batch_size` at a time. Each batch has its own read time.

        Such a scan can take hours. Firestore does not keep old versions of documents for this time. A batch can be
        empty.
        """
        everything, position = PageRequest(0), None
        while documents := await self._read(everything, position, batch_size):
            position = self._query.cursor(documents[-1])
            yield await self._select(documents)

    async def count(self, read_time: datetime | None = None) -> int:
        """Return the number of matching documents at `read_time` or now.

        Firestore counts the documents. With a document filter, this method reads all documents and ignores `read_time`.
        """
        if self._document_filter is not None:
            return sum([len(documents) async for documents in self.scan()])
        if self._shards > 1:
            read_time = read_time or await self._firestore.now()
        messages = [self._query.message(self._collection, shard, 0) for shard in range(self._shards)]
        counts = (self._firestore.count(self._parent, message, read_time) for message in messages)
        return sum(await asyncio.gather(*counts))

    async def _matches(self, documents: Sequence[Document]) -> Iterable[bool]:
        return repeat(True) if self._document_filter is None else await self._document_filter(documents)

    async def _select(self, documents: list[Document]) -> list[Document]:
        if self._document_filter is None:
            return documents
        return list(compress(documents, await self._document_filter(documents)))

    async def _read(self, request: PageRequest, position: Cursor | None, limit: int) -> list[Document]:
        """Return the next `limit` documents of all shards together, in the direction of `request`."""
        read_time = None if self._shards == 1 else await self._firestore.now()
        batches = await self._read_shards(request, position, limit, read_time)
        return list(islice(self._merge(batches, request.backward), limit))

    async def _read_shards(
        self,
        request: PageRequest,
        position: Cursor | None,
        limit: int,
        read_time: datetime | None,
        *,
        is_encoded: bool = False,
    ) -> list[list[Any]]:
        """Return the next `limit` documents of each shard between `position` and the end of `request`."""
        includes_start = request.includes_start and position == request.start
        messages = [
            self._query.message(
                self._collection,
                shard,
                limit,
                start=position,
                includes_start=includes_start,
                end=request.end,
                backward=request.backward,
            )
            for shard in range(self._shards)
        ]
        read: Callable[..., Awaitable[list[Any]]] = self._firestore.documents
        if is_encoded:
            read = self._firestore.encoded_page
        elif limit >= MIN_DOCUMENTS:
            read = self._firestore.page
        return await asyncio.gather(*(read(self._parent, message, read_time) for message in messages))

    def _merge(self, batches: Sequence[list[Any]], backward: bool) -> Iterable[Any]:
        if len(batches) == 1:
            return batches[0]
        return merge(*batches, key=self._query.rank, reverse=self._query.is_descending(backward))

    def _merge_complete(self, batches: Sequence[list[Any]], limit: int) -> tuple[list[Any], bool]:
        """Return the merged documents that are certain to be in order, and whether more documents can follow.

        A shard with a full batch can have more documents directly after the batch. The documents that this method
        returns therefore end at the earliest end of a full batch. Later documents of other shards are read again.
        """
        documents = list(self._merge(batches, backward=False))
        ends = [self._query.rank(batch[-1]) for batch in batches if len(batch) == limit]
        if ends and len(batches) > 1:
            end = max(ends) if self._query.is_descending(backward=False) else min(ends)
            index = next(index for index, document in enumerate(documents) if self._query.rank(document) == end)
            documents = documents[: index + 1]
        return documents, bool(ends)


def _page(
    request: PageRequest, edges: list[tuple[Cursor, Document]], *, has_more: bool, scanned_to: Cursor | None
) -> Page[Document]:
    """Return the page of `edges` in the order of the list. `edges` are in the direction of reading."""
    return Page(edges[::-1] if request.backward else edges, has_more, scanned_to)
