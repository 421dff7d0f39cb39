"""Read the results written between two positions from Firestore, in the order of the writes.

Firestore cannot order documents by the time of their write. It can order them only by the server time stored in
`computed_at`. This time is truncated to milliseconds, is equal for all writes of a commit, and can be slightly older
than the commit. Reading therefore starts slightly before the requested position, and a result is held back until no
earlier write can follow.

When a server restarts, all its subscribers reconnect at the same time and need the same pages. Readers therefore share
pages. To make the pages equal, each reader starts at a whole second, and the last document of a page does not depend on
the start.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, contextmanager
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple
from zlib import crc32

from graphql_api.live.listener import Position, WrittenResult
from graphql_api.results.filters import Bound, Order, Selection
from graphql_api.results.ordered_query import OrderedQuery
from graphql_api.results.pagination import Cursor
from storage.documents import document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore

_PAGE_SIZE = 100  # larger pages need too much memory: docs/measurements/attacks.md
_MAX_CACHED_PAGES = 12
_PAGE_END_RATIO = 10
"""On average, one of this number of documents can end a full page. A hash of the name selects these documents."""
_MAX_COMMIT_DELAY = timedelta(seconds=1)
"""The maximum difference between a commit and the older server time in its documents."""
_EPOCH = datetime.fromtimestamp(0, UTC)
"""The earliest start. A client can send a cursor with the year 1, and subtracting from that time would fail."""


class _Row(NamedTuple):
    computed_at: datetime
    written: WrittenResult


class _PageStart(NamedTuple):
    submitter: str
    shard: int
    computed_at: datetime
    after: Cursor | None = None
    """The cursor of the document before the page. None if the page starts with the first document at `computed_at`."""


class _Range(NamedTuple):
    until: Position
    readable_until: Callable[[], datetime]
    """Returns the time up to which all writes can be read now."""


class _Page(NamedTuple):
    rows: list[_Row]
    next: _PageStart | None
    complete_until: datetime
    """The page contains all writes up to this time."""

    def is_complete(self, until: datetime) -> bool:
        """Return whether no write up to `until` can be missing from the page."""
        is_settled = self.next is not None and self.next.computed_at <= self.complete_until - _MAX_COMMIT_DELAY
        return is_settled or until <= self.complete_until


class Replay:
    """Reads results of submitters from all shards."""

    def __init__(self, firestore: Firestore, *, shards: int) -> None:
        self._firestore = firestore
        self._shards = shards
        self._pages: OrderedDict[_PageStart, asyncio.Task[_Page]] = OrderedDict()
        self._readers = 0

    async def read(
        self, submitter: str, after: Position, until: Position, readable_until: Callable[[], datetime]
    ) -> AsyncGenerator[WrittenResult, None]:
        """Yield the results written after `after` up to `until`, in the order of their positions.

        `readable_until` returns the time up to which all writes can be read now. This time is at or after `until`.
        """
        start = max(after[0], _EPOCH).replace(microsecond=0) - _MAX_COMMIT_DELAY
        wanted = _Range(until, readable_until)
        held_back: list[tuple[Position, int, WrittenResult]] = []
        numbers = count()  # the heap compares these numbers if positions are equal
        async with AsyncExitStack() as stack:
            stack.enter_context(self._reading())
            shards = [
                await stack.enter_async_context(aclosing(self._rows(_PageStart(submitter, shard, start), wanted)))
                for shard in range(self._shards)
            ]
            next_rows = await _first_rows(shards)
            while next_rows:
                shard = min(next_rows, key=lambda shard: next_rows[shard].computed_at)
                row = next_rows.pop(shard)
                while held_back and held_back[0][0][0] < row.computed_at:
                    yield heappop(held_back)[2]
                if after < row.written.position <= until:
                    heappush(held_back, (row.written.position, next(numbers), row.written))
                if (following := await anext(shards[shard], None)) is not None:
                    next_rows[shard] = following
        while held_back:
            yield heappop(held_back)[2]

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Keep pages while at least one caller is in this context."""
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1
            if not self._readers:
                self._pages.clear()

    async def _rows(self, start: _PageStart, wanted: _Range) -> AsyncGenerator[_Row, None]:
        """Yield the results of a shard in the order of `computed_at`."""
        following: _PageStart | None = start
        while following is not None:
            page = await self._page(following, wanted)
            for row in page.rows:
                if row.computed_at > wanted.until[0]:
                    return
                yield row
            following = page.next

    async def _page(self, start: _PageStart, wanted: _Range) -> _Page:
        """Return the page at `start`. Share it with other readers that have read it or are reading it."""
        while True:
            task = self._pages.get(start)
            if task is None:
                task = self._start_reading(start, wanted.readable_until())
            self._pages.move_to_end(start)
            page = await asyncio.shield(task)  # other readers may wait for the same task
            if page.is_complete(wanted.until[0]):
                return page
            self._forget(start, task)

    def _start_reading(self, start: _PageStart, readable_until: datetime) -> asyncio.Task[_Page]:
        task = asyncio.create_task(self._read_page(start, readable_until))
        task.add_done_callback(lambda done: self._forget(start, done) if done.cancelled() or done.exception() else None)
        self._pages[start] = task
        if len(self._pages) > _MAX_CACHED_PAGES:
            self._pages.popitem(last=False)
        return task

    def _forget(self, start: _PageStart, task: asyncio.Task[_Page]) -> None:
        if self._pages.get(start) is task:
            del self._pages[start]

    async def _read_page(self, start: _PageStart, readable_until: datetime) -> _Page:
        parent = document_paths.submitter(start.submitter)
        since = Selection([Bound("computed_at", ">=", start.computed_at)])
        query = OrderedQuery(document_paths.RESULTS, Order("computed_at"), selection=since)
        collection = self._firestore.name(f"{parent}/{document_paths.RESULTS}")
        message = query.message(collection, start.shard, _PAGE_SIZE, start=start.after)
        documents = await self._firestore.page(parent, message)
        is_full = len(documents) == _PAGE_SIZE
        while is_full and len(documents) > 1 and crc32(documents[-1].name.encode()) % _PAGE_END_RATIO:
            documents.pop()
        rows = [
            _Row(encoding.field_time(document, "computed_at"), WrittenResult(start.submitter, document))
            for document in documents
        ]
        if not is_full:
            return _Page(rows, None, readable_until)
        following = start._replace(computed_at=rows[-1].computed_at, after=query.cursor(documents[-1]))
        return _Page(rows, following, readable_until)


async def _first_rows(shards: Sequence[AsyncGenerator[_Row, None]]) -> dict[int, _Row]:
    """Read the first row of each shard concurrently. Return the rows by the index of their shard.

    A shard without rows is left out. Wait for all reads before raising an error, because a generator cannot be closed
    while it is reading.
    """
    rows = await asyncio.gather(*(anext(shard, None) for shard in shards), return_exceptions=True)
    for row in rows:
        if isinstance(row, BaseException):
            raise row
    return {index: row for index, row in enumerate(rows) if isinstance(row, _Row)}
