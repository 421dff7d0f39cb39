"""Results that were written before somebody watched, in the order of the writes.

Firestore can order by no time of the write, only by the server time that a document holds. That is cut to
milliseconds, it is the same for all writes of a commit, and it may be a little older than the commit. So reading
begins somewhat before the place that is asked for, and a result is handed on when nothing that is still to be
read can have been written before it.

Where one reader was sent away, all were, and they come back together. So pages are shared: reading begins at a whole
second, and a page ends behind a document that every reader would end it at, wherever he began.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from typing import Any, NamedTuple
from zlib import crc32

from graphql_api.live.written_result import Place, Written
from graphql_api.results.filters import Bound, Order
from graphql_api.results.ordered_query import OrderedQuery
from graphql_api.results.pagination import Cursor
from storage.documents import document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore

_PAGE = 300
_MAX_PAGES = 48
_ENDS_ONE_IN = 32  # documents, by chance
_OLDEST_BEFORE_COMMIT = timedelta(seconds=1)
"""How much older than its commit the server time in a document can be."""
_BEFORE_ALL = datetime.fromtimestamp(0, UTC)
"""A cursor of a client's own making may hold the first time there is, before which there is none to begin at."""


class _Start(NamedTuple):
    submitter: str
    shard: int
    computed_at: datetime
    behind: Cursor | None = None
    """The place of a document; from all documents of this time where it is None."""


class _Wanted(NamedTuple):
    until: Place
    known: Callable[[], datetime]


class _Page(NamedTuple):
    rows: list[tuple[datetime, Written]]
    """The server time that each document holds, in order."""
    next: _Start | None
    known: datetime
    """Everything that was written up to this time could be read."""

    def serves(self, wanted: _Wanted) -> bool:
        """Tell whether nothing is wanted that came into these rows after they were read."""
        is_settled = self.next is not None and self.next.computed_at <= self.known - _OLDEST_BEFORE_COMMIT
        return is_settled or wanted.until[0] <= self.known


class Replay:
    """Reads what was written to the results of a submitter, whatever shard it is in."""

    def __init__(self, firestore: Firestore, *, shards: int) -> None:
        self._firestore = firestore
        self._shards = shards
        self._pages: OrderedDict[_Start, asyncio.Task[_Page]] = OrderedDict()

    async def written(
        self, submitter: str, after: Place, until: Place, known: Callable[[], datetime]
    ) -> AsyncGenerator[Written, None]:
        """Yield the results written behind `after` up to `until`, in the order of `Place`.

        `known` tells the time, `until` or later, up to which everything that was written can be read now.
        """
        held_back: list[tuple[Place, int, Written]] = []
        numbers = count()
        async with AsyncExitStack() as stack:
            since = max(after[0], _BEFORE_ALL).replace(microsecond=0) - _OLDEST_BEFORE_COMMIT
            wanted = _Wanted(until, known)
            shards = [
                await stack.enter_async_context(aclosing(self._rows(_Start(submitter, shard, since), wanted)))
                for shard in range(self._shards)
            ]
            heads = dict(zip(shards, await asyncio.gather(*(anext(shard, None) for shard in shards)), strict=True))
            while ahead := {shard: head for shard, head in heads.items() if head is not None}:
                shard = min(ahead, key=lambda each: ahead[each][0])
                computed_at, written = ahead[shard]
                while held_back and held_back[0][0][0] < computed_at:
                    yield heappop(held_back)[2]
                if after < written.place <= until:
                    heappush(held_back, (written.place, next(numbers), written))
                heads[shard] = await anext(shard, None)
        while held_back:
            yield heappop(held_back)[2]

    async def _rows(self, start: _Start, wanted: _Wanted) -> AsyncGenerator[tuple[datetime, Written], None]:
        """Yield the results of a shard by the server time that they hold."""
        following: _Start | None = start
        while following is not None:
            page = await self._page(following, wanted)
            for row in page.rows:
                if row[0] > wanted.until[0]:
                    return
                yield row
            following = page.next

    async def _page(self, start: _Start, wanted: _Wanted) -> _Page:
        """Read a page, or join whoever does."""
        while True:
            task = self._pages.get(start)
            if task is None:
                task = self._begin(start, wanted.known())
            self._pages.move_to_end(start)
            page = await asyncio.shield(task)  # others wait for it too
            if page.serves(wanted):
                return page
            self._forget(start, task)

    def _begin(self, start: _Start, known: datetime) -> asyncio.Task[_Page]:
        task = asyncio.create_task(self._read(start, known))
        task.add_done_callback(lambda done: self._forget(start, done) if done.cancelled() or done.exception() else None)
        self._pages[start] = task
        if len(self._pages) > _MAX_PAGES:
            self._pages.popitem(last=False)
        return task

    def _forget(self, start: _Start, task: asyncio.Task[_Page]) -> None:
        if self._pages.get(start) is task:
            del self._pages[start]

    async def _read(self, start: _Start, known: datetime) -> _Page:
        parent = document_paths.submitter(start.submitter)
        since = Bound("computed_at", ">=", start.computed_at)
        query = OrderedQuery(document_paths.RESULTS, Order("computed_at"), bounds=[since])
        collection = self._firestore.name(f"{parent}/{document_paths.RESULTS}")
        message = query.message(collection, start.shard, _PAGE, start=start.behind)
        documents = await self._firestore.documents(parent, message)
        full = len(documents) == _PAGE
        while full and len(documents) > 1 and crc32(documents[-1].name.encode()) % _ENDS_ONE_IN:
            documents.pop()
        rows = [(_computed_at(document), Written(start.submitter, document)) for document in documents]
        following = start._replace(computed_at=rows[-1][0], behind=query.cursor(documents[-1])) if full else None
        return _Page(rows, following, known)


def _computed_at(document: Any) -> datetime:
    return encoding.to_datetime(document.fields["computed_at"].timestamp_value)
