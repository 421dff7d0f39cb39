"""The latest results of one submitter in the order of their writes, up to a maximum length.

Thousands of readers share a log. A reader stores only its position in the log, so an idle reader costs almost nothing.
"""

import asyncio
import contextlib
import logging
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

from observability import tracing
from storage.documents import DropzoneError, Result, Status, Tombstone
from storage.firestore import encoding

Position = tuple[datetime, str]
"""The position of a result in the order of the writes: the time of the write, then the id of the sample."""

_AFTER_ALL_IDS = chr(0x10FFFF)

logger = logging.getLogger(__name__)


class WrittenResult:
    """A result document at the time of one write. All subscribers share it. It is decoded once, on first use."""

    __slots__ = ("_document", "_result", "_submitter", "_tombstone", "event", "position", "span")

    def __init__(self, submitter: str, document: Any) -> None:
        self.position: Position = encoding.to_datetime(document.update_time), document.name.rpartition("/")[2]
        self.span: Any = None
        """The span from the arrival of the document until the subscribers can read it, if traces are on."""
        self.event: object = None
        """The event that subscribers receive. The first subscription sets it for all subscriptions."""
        self._submitter = submitter
        self._document = document
        self._result: Result | None = None
        self._tombstone: Tombstone | None = None

    @property
    def result(self) -> Result | None:
        """The decoded result, or None if the document is not a valid result. In that case the log has an error."""
        self._decode()
        return self._result

    @property
    def tombstone(self) -> Tombstone | None:
        """The decoded tombstone, or None if the document is a result."""
        self._decode()
        return self._tombstone

    def _decode(self) -> None:
        if self._document is not None:
            document, self._document = self._document, None
            try:
                fields = encoding.from_document(document)
                self._result = Result.from_fields(self._submitter, self.position[1], fields)
                if self._result.status is Status.DELETED:
                    self._tombstone = Tombstone.from_fields(self._submitter, self.position[1], fields)
            except (KeyError, TypeError, ValueError):
                logger.exception("skipped %s: not a valid result", document.name)


class ResultLog:
    """All results of a submitter written after `start`. A full log drops old results and advances `start`."""

    def __init__(self, read_time: datetime, max_length: int) -> None:
        self._start: Position = (read_time, _AFTER_ALL_IDS)
        self._end: Position = self._start
        self._max_length = max_length
        self._results: deque[WrittenResult] = deque()
        self._dropped = 0
        self._error: DropzoneError | None = None
        self._changed = asyncio.Event()
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

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
                await self._changed.wait()

    @contextlib.contextmanager
    def expect(self, sample_id: str) -> Iterator[asyncio.Future[None]]:
        """Return a future that is done when a result of this sample is appended. After `close`, it raises the error."""
        future = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(sample_id, set())
        waiting.add(future)
        try:
            yield future
        finally:
            if not future.cancel() and not future.cancelled():
                future.exception()  # mark an error as retrieved if the caller did not await the future
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
        for written in snapshot:
            for future in self._waiting.pop(written.position[1], ()):
                if not future.done():
                    future.set_result(None)
        self._wake_readers()
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
        self._wake_readers()

    def _wake_readers(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
