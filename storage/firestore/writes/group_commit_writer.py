"""Group commit: writes that arrive at the same time share a BatchWrite, each with its own status.

The writer sends queued writes as soon as fewer than `MAX_CALLS` calls are in flight. A batch therefore grows with the
load, and a single write does not wait for other writes. With only one call in flight, this process and Firestore would
not work at the same time.

Submitters take turns (`write_queue.py`). If all calls are in flight, one additional call sends the writes of submitters
that have no write in flight. A single write therefore does not wait for the batches of another submitter. While several
submitters write, each may have only a few writes in flight. The writes and bytes of one submitter in the queue are
limited.

The writes of one `write_all` call share one future and one deadline. Deadlines expire in order of arrival, so one timer
is enough.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Sequence

import grpc

from observability import tracing
from storage.documents import RateLimited, Unavailable
from storage.firestore import metrics, spans
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreUnavailable, write_error
from storage.firestore.messages import BatchWriteResponse, Write, WriteResult
from storage.firestore.retry import backoff
from storage.firestore.writes.write_queue import PendingWrite, SubmitterWrites, WriteGroup, WriteQueue, WriteShare

MAX_BATCH_WRITES = 500
MAX_CALLS = 2
MIN_SPLIT_WRITES = 16
"""Fewer pending writes than this are sent in one call."""
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
        self._submitters: dict[str, SubmitterWrites] = {}
        """The submitters that have pending writes."""
        self._queue = WriteQueue()
        self._share = WriteShare(MAX_BATCH_WRITES, MAX_CALLS)
        self._calls: set[asyncio.Task[None]] = set()
        self._additional_call: asyncio.Task[None] | None = None
        """The additional call for submitters that have no write in flight."""
        self._sent_writes = 0
        self._groups: deque[WriteGroup] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.accepted_at = -math.inf
        """When Firestore last accepted a write. `-inf` at the start, and after Firestore has refused a write."""

    async def write(self, write: Write, submitter: str = "") -> WriteResult:
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

    async def write_all(
        self, writes: Sequence[Write], submitter: str = "", *, note_late: Callable[[int], None] | None = None
    ) -> list[WriteResult | Exception]:
        """Return one outcome per `Write`: the value that `write` returns, or the exception that `write` raises.

        If the caller is cancelled, writes in flight are still applied, and the others are not sent. `note_late` gets
        the index of each write that was applied, but whose result the caller did not get.
        """
        if not writes:
            return []
        sizes = [write.ByteSize() for write in writes]
        size = sum(sizes)
        own = self._submitters.get(submitter)
        if (refusal := self._refusal(own, size)) is not None:
            return [refusal] * len(writes)
        if own is None:
            own = self._submitters[submitter] = SubmitterWrites(submitter)
        self._count(own, len(writes), size)
        group = self._enqueue(own, writes, sizes, note_late)
        try:
            return await group.done
        except asyncio.CancelledError:
            for index in range(len(writes)):
                group.report(index)
            raise
        finally:
            if group.span is not None:
                spans.end_commit(group.span, group.outcomes)
            self._count(own, -len(writes), -size)
            if not own.writes:
                self._submitters.pop(submitter, None)
            while self._groups and self._groups[0].done.done():
                self._groups.popleft()

    def _refusal(self, own: SubmitterWrites | None, size: int) -> Unavailable | RateLimited | None:
        """Return the error for writes of `size` bytes if too many writes are pending."""
        if self._pending_bytes and self._pending_bytes + size > self._max_pending_bytes:
            return Unavailable("too many writes are waiting for Firestore; retry later")
        if own is not None and (own.writes > MAX_PENDING_WRITES or own.bytes + size > self._max_pending_bytes // 2):
            return RateLimited("too many writes of this submitter are waiting for Firestore; retry later")
        return None

    def _count(self, own: SubmitterWrites, writes: int, size: int) -> None:
        """Add to the number and the bytes of the pending writes."""
        self._pending_writes += writes
        self._pending_bytes += size
        own.writes += writes
        own.bytes += size

    def _enqueue(
        self,
        own: SubmitterWrites,
        writes: Sequence[Write],
        sizes: Sequence[int],
        note_late: Callable[[int], None] | None,
    ) -> WriteGroup:
        """Add writes to the queue, and start a call that sends them."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._share.note(own.name, now)
        group = WriteGroup(len(writes), now + self.timeout_seconds, loop.create_future(), note_late)
        if tracing.is_on:
            group.span = spans.start_commit()
        self._queue.add(own, writes, sizes, group)
        self._groups.append(group)
        if self._timer is None:
            self._timer = loop.call_at(group.deadline, self._expire_groups)
        self._start_call()
        if self._sent_writes and not own.sent:
            self._start_additional_call()
        return group

    def note_outcome(self, *, is_accepted: bool) -> None:
        """Record whether Firestore has just accepted a write."""
        self.accepted_at = asyncio.get_running_loop().time() if is_accepted else -math.inf

    @property
    def pending(self) -> tuple[int, int]:
        """The number of writes without an outcome, and their bytes."""
        return self._pending_writes, self._pending_bytes

    @property
    def share(self) -> int:
        """The number of writes that one submitter may have in flight now."""
        return self._share.at(asyncio.get_running_loop().time())

    async def close(self) -> None:
        """Wait until every write has its outcome and every call has returned."""
        while futures := [group.done for group in self._groups if not group.done.done()]:
            await asyncio.wait(futures)
        while calls := {*self._calls, *filter(None, [self._additional_call])}:
            await asyncio.wait(calls)
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

        The task starts in the next iteration of the event loop, so other writes of this iteration join its batch.
        """
        if self._queue and len(self._calls) < MAX_CALLS:
            self._calls.add(asyncio.create_task(self._send_queue()))

    def _start_additional_call(self) -> None:
        """If all other calls are in flight, send the writes of submitters that have no write in flight."""
        if self._additional_call is None and len(self._calls) == MAX_CALLS:
            self._additional_call = asyncio.create_task(self._send_queue(only_idle=True))

    async def _send_queue(self, *, only_idle: bool = False) -> None:
        """Send batches until the queue is empty. The next batch follows at once when a call returns."""
        try:
            while batch := self._next_batch(only_idle=only_idle):
                self._start_call()
                await self._call(batch)
        except Exception:
            logger.exception("a batch of writes was not sent")
        finally:
            # A callback of the task would be too late: writes that arrive before it runs would start no call.
            if only_idle:
                self._additional_call = None
            else:
                self._calls = {call for call in self._calls if call is not asyncio.current_task()}

    def _next_batch(self, *, only_idle: bool) -> list[PendingWrite]:
        fair_share = -(-self._pending_writes // MAX_CALLS)
        max_writes = min(max(fair_share, MIN_SPLIT_WRITES), MAX_BATCH_WRITES)
        batch = self._queue.next_batch(max_writes, self.share, only_idle=only_idle)
        now = asyncio.get_running_loop().time()
        for submitter in {pending.submitter.name for pending in batch}:
            self._share.note(submitter, now)  # the last of many writes can be sent seconds after they arrived
        self._sent_writes += len(batch)
        return batch

    async def _call(self, batch: list[PendingWrite]) -> None:
        metrics.BATCH_WRITE_SIZE.observe(len(batch))
        commits = [pending.group.span for pending in batch] if tracing.is_on else ()
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            response = await self._firestore.batch_write([pending.write for pending in batch], commits)
        except FirestoreUnavailable as error:
            self._retry_later(batch, error)
        except Exception as error:  # noqa: BLE001 - every write of this batch gets the error
            self.note_outcome(is_accepted=False)
            for pending in batch:
                pending.resolve(error)
        else:
            self.note_outcome(is_accepted=True)
            self._share.adjust(loop.time() - started, len(batch))
            self._resolve(batch, response)
        finally:
            self._sent_writes -= len(batch)
            for pending in batch:
                pending.submitter.sent -= 1

    def _resolve(self, batch: list[PendingWrite], response: BatchWriteResponse) -> None:
        """Set the outcomes of writes by their statuses. Send writes with transient errors again."""
        transient: list[PendingWrite] = []
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

    def _retry_later(self, batch: list[PendingWrite], error: FirestoreUnavailable) -> None:
        """Put `batch` back at the front of the queue after a pause. Writes are retried until their deadlines."""
        self.note_outcome(is_accepted=error.status is grpc.StatusCode.ABORTED)  # contention: it accepts other writes
        pauses = next((pending.pauses for pending in batch if pending.pauses is not None), None) or backoff()
        for pending in batch:
            pending.pauses = pauses
            pending.group.last_problem = error.reason
        asyncio.get_running_loop().call_later(next(pauses), self._requeue, batch)

    def _requeue(self, batch: list[PendingWrite]) -> None:
        self._queue.put_back(batch)
        self._start_call()
