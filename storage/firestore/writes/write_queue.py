"""The queue of writes, in which submitters take turns, and the share of the writes in flight per submitter.

A batch takes one write of each submitter, then a second one, and so on. A write is therefore in one of the next
batches, even if another submitter has thousands of writes in the queue.

Firestore rejects a BatchWrite that contains a document twice. Retries with the same idempotency key and repeated events
can write the same document at the same time. The second write then waits for the next batch.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from storage.documents import Unavailable
from storage.firestore.messages import Write, WriteResult

MAX_BATCH_BYTES = 9 * 2**20

MIN_SHARE_WRITES = 4
"""The smallest share. Measured: docs/measurements/attacks.md."""

QUICK_RATIO = 3
"""A call that takes no longer than this multiple of the quickest call is quick. Firestore can be distant."""

TOGETHER_SECONDS = 2.0
"""Several submitters write at the same time if the time between their writes is not longer than this."""

_GROWTH = 8
_SHRINKAGE = 0.7


class SubmitterWrites:
    """The writes of one submitter that have no outcome: their number, their bytes, and how many are in a batch."""

    __slots__ = ("bytes", "name", "sent", "writes")

    def __init__(self, name: str) -> None:
        self.name = name
        self.writes = 0
        self.bytes = 0
        self.sent = 0


class WriteGroup:
    """The writes of one `write_all` call: their outcomes, and a future that is done when all writes have an outcome."""

    __slots__ = ("deadline", "done", "last_problem", "note_late", "outcomes", "span", "unresolved")

    def __init__(
        self,
        count: int,
        deadline: float,
        done: "asyncio.Future[list[WriteResult | Exception]]",
        note_late: Callable[[int], None] | None = None,
    ) -> None:
        self.deadline = deadline
        self.done = done
        self.note_late = note_late
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
        self.done.set_result([*self.outcomes])  # later outcomes do not change the outcomes of the caller

    def report(self, index: int) -> None:
        """Report a write to `note_late` if Firestore has applied it. The caller did not get its outcome."""
        if self.note_late is not None and isinstance(self.outcomes[index], WriteResult):
            self.note_late(index)


class PendingWrite:
    """A write without an outcome."""

    __slots__ = ("group", "index", "pauses", "size", "submitter", "write")

    def __init__(self, write: Write, size: int, submitter: SubmitterWrites, group: WriteGroup, index: int) -> None:
        self.write = write
        self.size = size
        self.submitter = submitter
        self.group = group
        self.index = index
        self.pauses: Iterator[float] | None = None
        """The backoff, shared with the other writes of the failed call. None before the first failure."""

    def resolve(self, outcome: WriteResult | Exception) -> None:
        """Set the outcome. The group is done when all its writes have one."""
        group = self.group
        group.outcomes[self.index] = outcome
        group.unresolved -= 1
        if group.done.done():
            group.report(self.index)
        elif not group.unresolved:
            group.done.set_result(group.outcomes)


class WriteQueue:
    """The writes that wait for a batch."""

    def __init__(self) -> None:
        self._queues: dict[SubmitterWrites, deque[PendingWrite]] = {}
        """The queue of each submitter with waiting writes. The first submitter has the next turn."""

    def __bool__(self) -> bool:
        return bool(self._queues)

    def add(self, submitter: SubmitterWrites, writes: Sequence[Write], sizes: Sequence[int], group: WriteGroup) -> None:
        """Add the writes of a group."""
        queue = self._queues.get(submitter)
        if queue is None:
            queue = self._queues[submitter] = deque()
        queue.extend(
            PendingWrite(write, size, submitter, group, index)
            for index, (write, size) in enumerate(zip(writes, sizes, strict=True))
        )

    def put_back(self, writes: Sequence[PendingWrite]) -> None:
        """Put writes back at the front, in their order."""
        for pending in reversed(writes):
            self._queues.setdefault(pending.submitter, deque()).appendleft(pending)

    def next_batch(self, max_writes: int, share: int, *, only_idle: bool = False) -> list[PendingWrite]:
        """Take one write of each submitter in turn, until the batch is full or each submitter has its share in flight.

        With `only_idle`, skip submitters that have writes in another batch.
        """
        batch: list[PendingWrite] = []
        names: set[str] = set()
        later: list[PendingWrite] = []
        size = 0
        turns = deque(
            (submitter, queue, submitter.sent + 1)
            for submitter, queue in self._queues.items()
            if submitter.sent < share and not (only_idle and submitter.sent)
        )
        while turns and len(batch) < max_writes:
            submitter, queue, in_flight = turns.popleft()
            pending = queue.popleft()
            if has_turn := bool(queue) and in_flight < share:
                turns.append((submitter, queue, in_flight + 1))
            if pending.group.done.done():
                continue
            name = pending.write.delete or pending.write.update.name
            if name in names or (batch and size + pending.size > MAX_BATCH_BYTES):
                later.append(pending)
                if name not in names and has_turn:
                    turns.pop()  # the next writes of this submitter keep their order
                continue
            names.add(name)
            size += pending.size
            batch.append(pending)
        for pending in batch:
            pending.submitter.sent += 1
        # The next batch starts with the submitter whose turn it is.
        waiting = {submitter: queue for submitter, queue, _ in turns}
        self._queues = waiting | {submitter: queue for submitter, queue in self._queues.items() if queue}
        self.put_back(later)
        return batch


class WriteShare:
    """The share: how many writes one submitter may have in flight, in at most `max_calls` calls of `max_writes`.

    A call with 500 writes can take half a second. A write of another submitter that arrives in this time waits for the
    call, and for the events and results of its writes. Therefore, while several submitters write, each submitter has a
    share. The share shrinks while calls take long, and grows while they are quick. A submitter that writes alone can
    fill all calls.
    """

    def __init__(self, max_writes: int, max_calls: int) -> None:
        self._max_calls = max_calls
        self._max_share = max_writes * max_calls
        self._share = float(MIN_SHARE_WRITES)
        self._quickest_seconds = math.inf
        self._last_submitter = ""
        self._together_until = -math.inf

    def note(self, submitter: str, now: float) -> None:
        """Record that a write of `submitter` arrived or was sent. Writes of the process itself have no submitter."""
        if submitter and submitter != self._last_submitter:
            if self._last_submitter:
                self._together_until = now + TOGETHER_SECONDS
            self._last_submitter = submitter

    def at(self, now: float) -> int:
        """Return the share."""
        return int(self._share) if now < self._together_until else self._max_share

    def adjust(self, seconds: float, writes: int) -> None:
        """Adjust the share after a call that took `seconds` for a batch of `writes`."""
        self._quickest_seconds = min(self._quickest_seconds, seconds)
        if seconds > QUICK_RATIO * self._quickest_seconds:
            self._share = max(MIN_SHARE_WRITES, self._share * _SHRINKAGE)
        elif writes * self._max_calls >= self._share:
            self._share = min(self._max_share, self._share + _GROWTH)
