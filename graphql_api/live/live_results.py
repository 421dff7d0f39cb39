"""Results as they are written, for everybody who watches a submitter.

All who watch a submitter share one target of the Listen stream and one log: its latest results in the order of
the writes, bounded. A watcher is no more than a place in the log, so thousands of them cost next to nothing
until something is written. Whoever has fallen behind what the log still holds is told so by the end of `after`,
and reads on from Firestore.
"""

import asyncio
import contextlib
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from datetime import datetime
from operator import attrgetter

from graphql_api import metrics
from graphql_api.live.listener import Listener, Target
from graphql_api.live.replay import Replay
from graphql_api.live.written_result import Place, Written
from storage.documents import DropzoneError
from storage.firestore.client import Firestore

_BEHIND_ALL_IDS = chr(0x10FFFF)


class Log:
    """The latest results of one submitter."""

    def __init__(self, since: datetime, length: int) -> None:
        self.watchers = 0
        self._whole_behind: Place = (since, _BEHIND_ALL_IDS)
        self._until: Place = self._whole_behind
        self._length = length
        self._results: deque[Written] = deque()
        self._passed = 0  # how many were in front of those that are here
        self._end: DropzoneError | None = None
        self._news = asyncio.Event()
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

    @property
    def until(self) -> Place:
        """The place behind everything that has come; what is written from now on stands behind it."""
        return self._until

    @property
    def beginning(self) -> Place:
        """The place behind which nothing is missing."""
        return self._whole_behind

    async def after(self, place: Place) -> AsyncGenerator[Written, None]:
        """Yield what was written behind `place` and what comes, for as long as nothing of it is missing.

        Raises the error with which Firestore ended the watching.
        """
        if place < self._whole_behind:
            return
        number = self._passed + bisect_right(self._results, place, key=attrgetter("place"))
        while number >= self._passed:
            if number < self._passed + len(self._results):
                written = self._results[number - self._passed]
                number += 1
                if written.place > place:  # a cursor may be ahead of what has come here
                    yield written
            elif self._end is not None:
                raise self._end
            else:
                await self._news.wait()

    @contextlib.contextmanager
    def waiting_for(self, sample_id: str) -> Iterator[asyncio.Future[None]]:
        """Give a future that is done when the result of one sample has been written.

        It raises the error with which Firestore ended the watching.
        """
        future = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(sample_id, set())
        waiting.add(future)
        try:
            yield future
        finally:
            if not future.cancel() and not future.cancelled():
                future.exception()  # is not missed, where nobody has awaited it
            waiting.discard(future)
            if not waiting and self._waiting.get(sample_id) is waiting:
                del self._waiting[sample_id]

    def extend(self, read_time: datetime, written: list[Written]) -> None:
        """Add a whole snapshot."""
        self._until = (read_time, _BEHIND_ALL_IDS)
        if not written:
            return
        self._results.extend(written)
        while len(self._results) > self._length:
            self._whole_behind = self._results.popleft().place
            self._passed += 1
        for each in written:
            for future in self._waiting.pop(each.place[1], ()):
                if not future.done():
                    future.set_result(None)
        self._wake()

    def end(self, error: DropzoneError) -> None:
        """Add nothing more."""
        self._end = error
        for futures in self._waiting.values():
            for future in futures:
                if not future.done():
                    future.set_exception(error)
        self._waiting.clear()
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


class Live:
    """The logs of the submitters that are watched."""

    def __init__(self, firestore: Firestore, *, log_length: int, shards: int) -> None:
        self._firestore = firestore
        self._log_length = log_length
        self._replay = Replay(firestore, shards=shards)
        self._listener = Listener(firestore)
        self._logs: dict[str, tuple[Log, Target]] = {}

    async def close(self) -> None:
        """Stop listening."""
        await self._listener.close()

    @contextlib.asynccontextmanager
    async def watch(self, submitter: str) -> AsyncIterator[Log]:
        """Give the log of `submitter`, kept up to date for as long as somebody watches.

        Raises `Unavailable` where Firestore cannot be asked what "now" is.
        """
        if submitter not in self._logs:
            now = await self._firestore.now()
            if submitter not in self._logs:  # another may have been quicker
                self._begin(submitter, now)
        log, target = self._logs[submitter]
        log.watchers += 1
        metrics.SUBSCRIPTIONS.inc()
        try:
            yield log
        finally:
            metrics.SUBSCRIPTIONS.dec()
            log.watchers -= 1
            if not log.watchers:
                self._forget(submitter, log)
                self._listener.remove(target)

    async def after(self, submitter: str, place: Place | None) -> AsyncGenerator[Written, None]:
        """Yield what was written behind `place`, or from now on, in the order of the writes, for as long as it is read.

        What the log does not hold, or holds no longer because the reader is slow, is read from Firestore: up to
        where the log begins, a moment that is past, so that nothing can still be written in front of it.
        """
        async with self.watch(submitter) as log:
            place = log.until if place is None else place
            while True:
                if place < (beginning := log.beginning):
                    replay = self._replay.written(submitter, place, beginning, lambda: log.until[0])
                    async with aclosing(replay) as results:
                        async for written in results:
                            yield written
                    place = beginning
                async with aclosing(log.after(place)) as results:
                    async for written in results:
                        place = written.place
                        yield written

    def _begin(self, submitter: str, now: datetime) -> None:
        log = Log(now, self._log_length)

        def ended(error: DropzoneError) -> None:
            self._forget(submitter, log)
            log.end(error)

        target = Target(submitter, now, log.extend, ended)
        self._logs[submitter] = log, target
        self._listener.add(target)

    def _forget(self, submitter: str, log: Log) -> None:
        if submitter in self._logs and self._logs[submitter][0] is log:
            del self._logs[submitter]
