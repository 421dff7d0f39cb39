"""New results of each submitter, passed to all subscribers as Firestore writes them.

All subscribers of a submitter share one target of the Listen stream and one log. A subscriber stores only its position
in the log, so an idle subscriber costs almost nothing.

If a subscriber needs results that the log does not have, it reads them from Firestore up to the start of the log. It
then follows the log. Few subscribers of a submitter read from Firestore at the same time, and the others wait. The
start of the log is in the past, so no new result can be written before it. Therefore subscribers miss no result and
receive no result twice.
"""

import asyncio
import contextlib
import time
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter

from graphql_api import metrics
from graphql_api.budgets.budgets import Budgets, Sender
from graphql_api.live.listener import Listener, ListenTarget, Position, WrittenResult
from graphql_api.live.replay import Replay
from observability import tracing
from runtime.shared_tasks import SharedTasks
from storage.documents import BadRequest, DropzoneError
from storage.firestore.client import Firestore

_AFTER_ALL_IDS = chr(0x10FFFF)
_STEP_RESULTS = 16
"""A subscriber that skips results lets other tasks use the event loop after this number of results."""

_WOKEN_TOGETHER = 25
"""Waiting subscribers of a submitter that continue in the same iteration of the event loop.

A subscriber compares up to `_STEP_RESULTS` results with its filter, which can take 0.2 ms. Together, the 2,000
subscribers of a submitter would block the event loop for 0.3 s.
"""

_MAX_REPLAY_SECONDS = 5.0
"""After this time, a subscriber that reads from Firestore lets waiting subscribers of its submitter read.

When it continues, it first reads the results of up to two seconds before its position again. With a much shorter time,
most reads would be such repetitions.
"""


class ResultLog:
    """The results of a submitter written after `start`. A full log drops old results and advances `start`."""

    def __init__(self, read_time: datetime, max_length: int) -> None:
        self._start: Position = (read_time, _AFTER_ALL_IDS)
        self._end: Position = self._start
        self._max_length = max_length
        self._results: deque[WrittenResult] = deque()
        self._dropped = 0
        self._error: DropzoneError | None = None
        self._readers: dict[asyncio.Future[None], None] = {}
        """The readers that wait for further results, in order."""
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        """The futures that wait for a result of a sample, by the id of the sample."""
        self._ready: deque[asyncio.Future[None]] = deque()
        """The futures of both kinds that are done in one of the next iterations of the event loop."""

    @property
    def start(self) -> Position:
        """The position after which the log is complete."""
        return self._start

    @property
    def end(self) -> Position:
        """The position of the last snapshot. Later writes have later positions."""
        return self._end

    async def follow(self, position: Position) -> AsyncGenerator[WrittenResult, None]:
        """Yield the results written after `position`, and then new results as they are appended.

        Returns when the log has dropped a result that was not yet yielded. After `close`, raises its error.
        """
        if position < self._start:
            return
        number = self._dropped + bisect_right(self._results, position, key=attrgetter("position"))
        while number >= self._dropped:
            if number < self._dropped + len(self._results):
                written = self._results[number - self._dropped]
                number += 1
                if written.position > position:  # `position` can be later than the end of the log
                    yield written
            elif self._error is not None:
                raise self._error
            else:
                await self._change()

    @contextlib.contextmanager
    def expect(self, sample_id: str) -> Iterator[asyncio.Future[None]]:
        """Return a future that is done when a result of this sample is appended. After `close`, it raises the error."""
        future = asyncio.get_running_loop().create_future()
        if self._error is not None:
            future.set_exception(self._error)
        waiting = self._waiting.setdefault(sample_id, set())
        waiting.add(future)
        try:
            yield future
        finally:
            if not future.cancel() and not future.cancelled():
                future.exception()  # if the caller did not await the future, mark an error as retrieved
            waiting.discard(future)
            if not waiting and self._waiting.get(sample_id) is waiting:
                del self._waiting[sample_id]

    def append(self, read_time: datetime, snapshot: Sequence[WrittenResult]) -> None:
        """Append the results written since the last snapshot, up to `read_time`, in the order of the writes."""
        self._end = (read_time, _AFTER_ALL_IDS)
        if not snapshot:
            return
        self._results.extend(snapshot)
        while len(self._results) > self._max_length:
            self._start = self._results.popleft().position
            self._dropped += 1
        expected = [future for written in snapshot for future in self._waiting.pop(written.position[1], ())]
        self._wake([*expected, *self._readers])
        for written in snapshot:
            if written.span is not None:
                tracing.end(written.span)
                written.span = None

    def close(self, error: DropzoneError) -> None:
        """Make all readers raise `error` after they have read the rest of the log."""
        self._error = error
        for futures in self._waiting.values():
            for future in futures:
                if not future.done():
                    future.set_exception(error)
        self._waiting.clear()
        self._wake(self._readers)

    async def _change(self) -> None:
        """Wait until the log has changed."""
        future = asyncio.get_running_loop().create_future()
        self._readers[future] = None
        try:
            await future
        finally:
            self._readers.pop(future, None)

    def _wake(self, futures: Iterable[asyncio.Future[None]]) -> None:
        """Set the results of futures, a few in each iteration of the event loop."""
        is_waking = bool(self._ready)
        self._ready.extend(futures)
        self._readers.clear()
        if not is_waking:
            self._wake_some()

    def _wake_some(self) -> None:
        for _ in range(min(len(self._ready), _WOKEN_TOGETHER)):
            future = self._ready.popleft()
            if not future.done():
                future.set_result(None)
        if self._ready:
            asyncio.get_running_loop().call_soon(self._wake_some)


@dataclass(slots=True)
class _WatchedSubmitter:
    log: ResultLog
    target: ListenTarget
    watchers: int = 0


class LiveResults:
    """The logs of all submitters that have subscribers."""

    def __init__(self, firestore: Firestore, budgets: Budgets, *, max_log_length: int, shards: int) -> None:
        self._firestore = firestore
        self._budgets = budgets
        self._max_log_length = max_log_length
        self._replay = Replay(firestore, shards=shards)
        self._listener = Listener(firestore)
        self._watched: dict[str, _WatchedSubmitter] = {}
        self._starting = SharedTasks[str, datetime]()

    async def close(self) -> None:
        """Stop listening."""
        await self._starting.cancel()
        await self._listener.close()

    @contextlib.asynccontextmanager
    async def watch(self, submitter: str) -> AsyncIterator[ResultLog]:
        """Return the log of `submitter`. The log is updated while at least one caller is in this context.

        Raises `Unavailable` if Firestore does not return its current time.
        """
        if submitter not in self._watched:
            read_time = await self._starting.run(submitter, self._firestore.now)
            if submitter not in self._watched:  # another caller can have added the submitter during the await
                self._add(submitter, read_time)
        watched = self._watched[submitter]
        watched.watchers += 1
        metrics.SUBSCRIPTIONS.inc()
        try:
            yield watched.log
        finally:
            metrics.SUBSCRIPTIONS.dec()
            watched.watchers -= 1
            if not watched.watchers:
                self._remove(submitter, watched.log)
                self._listener.remove(watched.target)

    async def follow(self, reader: Sender, position: Position | None) -> AsyncGenerator[WrittenResult, None]:
        """Yield the results written after `position`, or new results, in the order of the writes. Never ends.

        If the log does not have the next results, they are read from Firestore. The log drops old results, so a slow
        reader also reads from Firestore. The limits of the submitter that owns the credential of `reader` apply.

        Raises `BadRequest` if `position` is in the future, because results up to this time would be left out. Another
        process can be ahead of this log, so a position after the end of the log is compared with the time of Firestore.
        """
        async with self.watch(reader.submitter) as log:
            position = log.end if position is None else position
            if position > log.end and position[0] > await self._firestore.now():
                raise BadRequest("the cursor is later than the present time; subscribe without a cursor - at `after`")
            turn = self._budgets.charged(reader).turn()
            number = 0
            while True:
                is_stored = position < log.start
                source = self._stored(reader, position, log) if is_stored else log.follow(position)
                async with aclosing(source) as results:
                    async for written in results:
                        position = written.position
                        yield written
                        number += 1
                        if not number % _STEP_RESULTS:
                            await turn.pause()
                    if is_stored:
                        position = log.start

    async def _stored(self, reader: Sender, position: Position, log: ResultLog) -> AsyncGenerator[WrittenResult, None]:
        """Yield the results written after `position` that the log does not have. Read them from Firestore."""
        while position < log.start:
            slots = self._budgets.charged(reader).replays
            async with slots.hold(1):
                start = log.start
                replay = self._replay.read(reader.submitter, position, start, lambda: log.end[0])
                async with aclosing(replay) as results:
                    ends_at = time.monotonic() + _MAX_REPLAY_SECONDS
                    async for written in results:
                        position = written.position
                        yield written
                        if slots.waiting and time.monotonic() >= ends_at:
                            break
                    else:
                        position = start

    def _add(self, submitter: str, read_time: datetime) -> None:
        log = ResultLog(read_time, self._max_log_length)

        def on_end(error: DropzoneError) -> None:
            self._remove(submitter, log)
            log.close(error)

        target = ListenTarget(submitter, read_time, on_snapshot=log.append, on_end=on_end)
        self._watched[submitter] = _WatchedSubmitter(log, target)
        self._listener.add(target)

    def _remove(self, submitter: str, log: ResultLog) -> None:
        """Remove the submitter unless it has been added again with another log."""
        if submitter in self._watched and self._watched[submitter].log is log:
            del self._watched[submitter]
