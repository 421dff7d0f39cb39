"""Group commit: writes that arrive at the same time share a BatchWrite, each with its own status.

The writer sends queued writes as soon as fewer than `MAX_CALLS` calls are in flight. A batch
therefore grows with the load, and a single write does not wait for others. With only one call in
flight, this process would be idle while Firestore works, and Firestore while this process works.

Submitters take turns: a batch takes one write of each waiting submitter, then a second one, and so
on. A single write is therefore in one of the next batches, even if another submitter has thousands
of writes in the queue. The writes and bytes that one submitter can have in the queue are limited.

Firestore rejects a BatchWrite that contains a document twice. Retries with the same idempotency
key and repeated events can write the same document at the same time. The second write then waits
for the next batch.

The writes of one `write_all` call share one future and one deadline. Deadlines expire in order of
arrival, so one timer is enough.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import grpc

from observability import tracing
from storage.documents import RateLimited, Unavailable
from storage.firestore import metrics, spans
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreUnavailable, write_error
from storage.firestore.retry import backoff

MAX_BATCH_WRITES = 500
MAX_BATCH_BYTES = 9 * 2**20
MAX_CALLS = 2
MIN_SPLIT_WRITES = 16
"""If fewer writes are pending, they are sent in one call."""
MAX_PENDING_BYTES = 256 * 2**20
MAX_PENDING_WRITES = 20_000
"""Writes of one submitter without an outcome."""

logger = logging.getLogger(__name__)


class GroupCommitWriter:
    """Sends writes in as few BatchWrite calls as possible. Belongs to one event loop."""

    def __init__(
        self, firestore: Firestore, *, timeout_seconds: float, max_pending_bytes: int = MAX_PENDING_BYTES
    ) -> None:
        self._firestore = firestore
        self.timeout_seconds = timeout_seconds
        self._max_pending_bytes = max_pending_bytes
        self._pending_writes = 0
        self._pending_bytes = 0
        self._submitters: dict[str, _Submitter] = {}
        """The submitters that have pending writes."""
        self._queues: dict[str, deque[_PendingWrite]] = {}
        """The queued writes by submitter. No queue is empty. The first submitter is the next one to write."""
        self._calls: set[asyncio.Task[None]] = set()
        self._groups: deque[_WriteGroup] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.is_failing = False
        """Whether Firestore did not accept the last batch of writes. Contention between writes does not count."""

    async def write(self, write: Any, submitter: str = "") -> Any:
        """Return the `WriteResult` of a `Write` after Firestore has committed it.

        Raises `PreconditionFailed`, `InvalidWrite` or another `FirestoreError` if Firestore rejects the
        write. Raises `RateLimited` if too many writes of `submitter` are pending. Raises `Unavailable` if too
        many bytes are pending, or if Firestore has not confirmed the write before the timeout. Firestore can
        still apply a write that it has not confirmed.
        """
        (outcome,) = await self.write_all([write], submitter)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def write_all(self, writes: Sequence[Any], submitter: str = "") -> list[Any]:
        """Return one outcome per `Write`: the value that `write` returns, or the exception that `write` raises."""
        if not writes:
            return []
        sizes = [write.ByteSize() for write in writes]
        size = sum(sizes)
        if self._pending_bytes and self._pending_bytes + size > self._max_pending_bytes:
            full = Unavailable("too many writes are waiting for Firestore; retry later")
            return [full] * len(writes)
        own = self._submitters.get(submitter)
        if own is None:
            own = self._submitters[submitter] = _Submitter()
        elif own.writes > MAX_PENDING_WRITES or own.bytes + size > self._max_pending_bytes // 2:
            return [RateLimited("too many writes of this submitter are waiting for Firestore; retry later")] * len(
                writes
            )
        loop = asyncio.get_running_loop()
        group = _WriteGroup(len(writes), loop.time() + self.timeout_seconds, loop.create_future())
        if tracing.is_on:
            group.span = spans.start_commit()
        self._pending_writes += len(writes)
        self._pending_bytes += size
        own.writes += len(writes)
        own.bytes += size
        queue = self._queues.get(submitter)
        if queue is None:
            queue = self._queues[submitter] = deque()
        queue.extend(
            _PendingWrite(write, size, submitter, group, index)
            for index, (write, size) in enumerate(zip(writes, sizes, strict=True))
        )
        self._groups.append(group)
        if self._timer is None:
            self._timer = loop.call_at(group.deadline, self._expire_groups)
        self._start_call()
        try:
            return await group.done
        finally:
            if group.span is not None:
                spans.end_commit(group.span, group.outcomes)
            self._pending_writes -= len(writes)
            self._pending_bytes -= size
            own.writes -= len(writes)
            own.bytes -= size
            if not own.writes:
                self._submitters.pop(submitter, None)
            while self._groups and self._groups[0].done.done():
                self._groups.popleft()

    @property
    def pending(self) -> tuple[int, int]:
        """The number of writes without an outcome, and their bytes."""
        return self._pending_writes, self._pending_bytes

    async def close(self) -> None:
        """Wait until every write has its outcome and every call has returned."""
        while futures := [group.done for group in self._groups if not group.done.done()]:
            await asyncio.wait(futures)
        while self._calls:
            await asyncio.wait(self._calls)
        if self._timer is not None:
            self._timer.cancel()

    def _expire_groups(self) -> None:
        """Fail the groups whose deadline has passed, and set the timer for the next group."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._groups and (self._groups[0].done.done() or self._groups[0].deadline <= now):
            self._groups.popleft().expire(self.timeout_seconds)
        self._timer = loop.call_at(self._groups[0].deadline, self._expire_groups) if self._groups else None

    def _start_call(self) -> None:
        """Send the queue with one more call, unless `MAX_CALLS` are in flight.

        The task starts in the next turn of the event loop, so other writes of this turn join its batch.
        """
        if self._queues and len(self._calls) < MAX_CALLS:
            self._calls.add(asyncio.create_task(self._send_queue()))

    async def _send_queue(self) -> None:
        """Send batches until the queue is empty. The next batch follows in the same turn in which a call returns."""
        try:
            while batch := self._next_batch():
                self._start_call()
                await self._call(batch)
        except Exception:
            logger.exception("a batch of writes was not sent")
        finally:
            # Not in a callback of the task: writes that arrive before it runs would start no call.
            self._calls = {call for call in self._calls if call is not asyncio.current_task()}

    def _next_batch(self) -> "list[_PendingWrite]":
        """Take one write of each submitter in turn, until the batch is full."""
        batch: list[_PendingWrite] = []
        names: set[str] = set()
        later: list[_PendingWrite] = []
        size = 0
        fair_share = -(-self._pending_writes // MAX_CALLS)
        max_writes = min(max(fair_share, MIN_SPLIT_WRITES), MAX_BATCH_WRITES)
        turns = deque(self._queues.items())
        while turns and len(batch) < max_writes:
            submitter, queue = turns.popleft()
            pending = queue.popleft()
            if queue:
                turns.append((submitter, queue))
            if pending.group.done.done():
                continue
            name = pending.write.delete or pending.write.update.name
            if name in names or (batch and size + pending.size > MAX_BATCH_BYTES):
                later.append(pending)
                if name not in names and queue:
                    turns.pop()  # the next writes of this submitter keep their order
                continue
            names.add(name)
            size += pending.size
            batch.append(pending)
        # The next batch starts with the submitter whose turn it is.
        self._queues = dict(turns) | {key: queue for key, queue in self._queues.items() if queue}
        self._put_back(later)
        return batch

    def _put_back(self, writes: "Sequence[_PendingWrite]") -> None:
        """Put writes back at the front of the queues, in their order."""
        for pending in reversed(writes):
            self._queues.setdefault(pending.submitter, deque()).appendleft(pending)

    async def _call(self, batch: "list[_PendingWrite]") -> None:
        metrics.BATCH_WRITE_SIZE.observe(len(batch))
        commits = [pending.group.span for pending in batch] if tracing.is_on else ()
        try:
            response = await self._firestore.batch_write([pending.write for pending in batch], commits)
        except FirestoreUnavailable as error:
            self._retry_later(batch, error)
        except Exception as error:  # noqa: BLE001 - every write of this batch gets the error
            self.is_failing = True
            for pending in batch:
                pending.resolve(error)
        else:
            self.is_failing = False
            transient: list[_PendingWrite] = []
            for pending, result, status in zip(batch, response.write_results, response.status, strict=True):
                if status.code == 0:
                    pending.resolve(result)
                elif isinstance(rejection := write_error(status), FirestoreUnavailable):
                    transient.append(pending)
                    last_error = rejection
                else:
                    pending.resolve(rejection)
            if transient:
                self._retry_later(transient, last_error)

    def _retry_later(self, batch: "list[_PendingWrite]", error: FirestoreUnavailable) -> None:
        """Put `batch` back at the front of the queue after a pause. The retries end at the deadlines of the writes."""
        self.is_failing = error.status is not grpc.StatusCode.ABORTED
        pauses = next((pending.pauses for pending in batch if pending.pauses is not None), None) or backoff()
        for pending in batch:
            pending.pauses = pauses
            pending.group.last_problem = error.reason
        asyncio.get_running_loop().call_later(next(pauses), self._requeue, batch)

    def _requeue(self, batch: "list[_PendingWrite]") -> None:
        self._put_back(batch)
        self._start_call()


class _WriteGroup:
    """The writes of one `write_all` call: their outcomes, and a future that is done when all writes have one."""

    __slots__ = ("deadline", "done", "last_problem", "outcomes", "span", "unresolved")

    def __init__(self, count: int, deadline: float, done: "asyncio.Future[list[Any]]") -> None:
        self.deadline = deadline
        self.done = done
        self.outcomes: list[Any] = [None] * count
        self.unresolved = count
        self.last_problem = ""
        self.span: Any = None

    def expire(self, timeout_seconds: float) -> None:
        """Fail the writes that have no outcome."""
        if self.done.done():
            return
        reason = f" (last status: {self.last_problem})" if self.last_problem else ""
        late = Unavailable(
            f"Firestore did not confirm the write within {timeout_seconds:g} s{reason} and may still apply it; "
            "retry with the same idempotency key or document id"
        )
        self.outcomes = [late if outcome is None else outcome for outcome in self.outcomes]
        self.done.set_result(self.outcomes)


class _Submitter:
    """How many writes and bytes of one submitter are pending."""

    __slots__ = ("bytes", "writes")

    def __init__(self) -> None:
        self.writes = 0
        self.bytes = 0


class _PendingWrite:
    """A write without an outcome."""

    __slots__ = ("group", "index", "pauses", "size", "submitter", "write")

    def __init__(self, write: Any, size: int, submitter: str, group: _WriteGroup, index: int) -> None:
        self.write = write
        self.size = size
        self.submitter = submitter
        self.group = group
        self.index = index
        self.pauses: Iterator[float] | None = None
        """The backoff, shared with the other writes of the failed call. None before the first failure."""

    def resolve(self, outcome: Any) -> None:
        group = self.group
        group.outcomes[self.index] = outcome
        group.unresolved -= 1
        if not group.unresolved and not group.done.done():
            group.done.set_result(group.outcomes)
