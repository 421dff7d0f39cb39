"""Group commit: submissions that arrive together share a BatchWrite, each answered by its own status.

Whatever waits is sent as soon as a call returns, so the batch grows with the load and a lone
submission waits for nobody. Were all in one batch, this process and Firestore would take turns at being
idle; so where much is under way, each call takes its part of it. The trap: a BatchWrite refuses to hold a
document twice, and retries of one idempotency key do write the same document at the same time; such a write
waits for the next batch.

What is written together is waited for together: one future and one place in the order of deadlines, which is
the order of arrival, so that one timer serves all.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Sequence
from typing import Any

import grpc

from storage.documents import DropzoneError, Unavailable
from storage.firestore import metrics
from storage.firestore.client import TRANSIENT, Firestore

MAX_BATCH_WRITES = 500
MAX_BATCH_BYTES = 9 * 2**20
MAX_CALLS = 2
FEW_WRITES = 16
"""So many are not worth a second call."""

_CODES = {code.value[0]: code.name for code in grpc.StatusCode}
_TRANSIENT_CODES = {code.value[0] for code in TRANSIENT}
_ALREADY_EXISTS = grpc.StatusCode.ALREADY_EXISTS.value[0]
_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 0.02, 1.0

logger = logging.getLogger(__name__)


class AlreadyExists(DropzoneError):
    """The write had the precondition that there is no such document, but there is one."""


class _Together:
    """Writes of one caller: their outcomes, and the future that ends when all have one."""

    __slots__ = ("deadline", "done", "outcomes", "unanswered")

    def __init__(self, count: int, deadline: float, done: "asyncio.Future[list[Any]]") -> None:
        self.deadline = deadline
        self.done = done
        self.outcomes: list[Any] = [None] * count
        self.unanswered = count

    def answer(self, place: int, outcome: Any) -> None:
        self.outcomes[place] = outcome
        self.unanswered -= 1
        if not self.unanswered and not self.done.done():
            self.done.set_result(self.outcomes)

    def give_up(self, error: Exception) -> None:
        """Answer what is not answered yet."""
        if not self.done.done():
            self.done.set_result([error if outcome is None else outcome for outcome in self.outcomes])


class _Waiting:
    """A write on its way to Firestore."""

    __slots__ = ("attempts", "place", "size", "together", "write")

    def __init__(self, write: Any, size: int, together: _Together, place: int) -> None:
        self.write = write
        self.size = size
        self.together = together
        self.place = place
        self.attempts = 0

    @property
    def is_wanted(self) -> bool:
        return not self.together.done.done()

    def answer(self, outcome: Any) -> None:
        self.together.answer(self.place, outcome)


class Writer:
    """Writes documents with as few calls as the moment allows. Used by one event loop."""

    def __init__(self, firestore: Firestore, *, timeout_seconds: float, waiting_bytes: int) -> None:
        self._firestore = firestore
        self.timeout_seconds = timeout_seconds
        self._max_bytes = waiting_bytes
        self._writes = 0
        self._bytes = 0
        self._queue: deque[_Waiting] = deque()
        self._calls: set[asyncio.Task[None]] = set()
        self._is_due = False
        self._deadlines: deque[_Together] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def write(self, write: Any) -> Any:
        """Return the `WriteResult` of `write` once Firestore has committed it.

        Raises `AlreadyExists` where its precondition says so, and `Unavailable` where Firestore has
        not confirmed it in time (it may still have been written) or too much is waiting already.
        """
        (outcome,) = await self.write_all([write])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def write_all(self, writes: Sequence[Any]) -> list[Any]:
        """Return for each of `writes` what `write` would return, or the exception that it would raise."""
        if not writes:
            return []
        sizes = [write.ByteSize() for write in writes]
        size = sum(sizes)
        if self._bytes + size > self._max_bytes and self._bytes:
            full = Unavailable("too many submissions are waiting for Firestore; send this one again later")
            return [full] * len(writes)
        loop = asyncio.get_running_loop()
        together = _Together(len(writes), loop.time() + self.timeout_seconds, loop.create_future())
        self._writes += len(writes)
        self._bytes += size
        self._queue.extend(
            _Waiting(write, size, together, place)
            for place, (write, size) in enumerate(zip(writes, sizes, strict=True))
        )
        self._deadlines.append(together)
        if self._timer is None:
            self._timer = loop.call_at(together.deadline, self._late)
        if not self._is_due:  # what comes in the same turn of the loop goes along
            self._is_due = True
            loop.call_soon(self._send)
        try:
            return await together.done
        finally:
            self._writes -= len(writes)
            self._bytes -= size
            while self._deadlines and self._deadlines[0].done.done():
                self._deadlines.popleft()

    @property
    def waiting(self) -> tuple[int, int]:
        """How many writes are not answered yet, and their bytes."""
        return self._writes, self._bytes

    async def close(self) -> None:
        """Wait until everything that was taken is answered."""
        while waiting := [together.done for together in self._deadlines if not together.done.done()]:
            await asyncio.wait(waiting)
        while self._calls:
            await asyncio.wait(self._calls)
        if self._timer is not None:
            self._timer.cancel()

    def _late(self) -> None:
        """Give up what has waited for too long, and look again when the next one has."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        late = Unavailable(
            "Firestore has not confirmed in time; send it again, with an idempotency key so that it is stored once"
        )
        while self._deadlines and (self._deadlines[0].done.done() or self._deadlines[0].deadline <= now):
            self._deadlines.popleft().give_up(late)
        self._timer = loop.call_at(self._deadlines[0].deadline, self._late) if self._deadlines else None

    def _send(self) -> None:
        self._is_due = False
        while self._queue and len(self._calls) < MAX_CALLS:
            batch = self._next_batch()
            if not batch:
                return
            call = asyncio.create_task(self._call(batch))
            self._calls.add(call)
            call.add_done_callback(self._called)

    def _called(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        if not call.cancelled() and (error := call.exception()):
            logger.error("a batch of writes was not sent", exc_info=error)
        self._send()

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        names: set[str] = set()
        later: list[_Waiting] = []
        size = 0
        most = min(max(-(-self._writes // MAX_CALLS), FEW_WRITES), MAX_BATCH_WRITES)
        while self._queue and len(batch) < most:
            waiting = self._queue.popleft()
            if not waiting.is_wanted:
                continue
            name = waiting.write.delete or waiting.write.update.name
            if name in names:
                later.append(waiting)
                continue
            if batch and size + waiting.size > MAX_BATCH_BYTES:
                later.append(waiting)
                break
            names.add(name)
            size += waiting.size
            batch.append(waiting)
        self._queue.extendleft(reversed(later))
        return batch

    async def _call(self, batch: list[_Waiting]) -> None:
        metrics.BATCH_WRITE_SIZE.observe(len(batch))
        try:
            response = await self._firestore.batch_write([waiting.write for waiting in batch])
        except Unavailable:
            self._again(batch)
        except Exception as error:  # noqa: BLE001 - whoever waits is told, whatever it was
            for waiting in batch:
                waiting.answer(error)
        else:
            again = []
            for waiting, result, status in zip(batch, response.write_results, response.status, strict=True):
                code = status.code
                if code == 0:
                    waiting.answer(result)
                elif code == _ALREADY_EXISTS:
                    waiting.answer(AlreadyExists(status.message))
                else:
                    metrics.firestore_errors(_CODES.get(code, "UNKNOWN")).inc()
                    if code in _TRANSIENT_CODES:
                        again.append(waiting)
                    else:
                        waiting.answer(RuntimeError(f"Firestore refused a write: {status.message}"))
            if again:
                self._again(again)

    def _again(self, batch: list[_Waiting]) -> None:
        """Send `batch` once more after a pause with jitter; deadlines end what never succeeds."""
        attempts = max(waiting.attempts for waiting in batch)
        for waiting in batch:
            waiting.attempts += 1
        pause = min(_FIRST_PAUSE_SECONDS * 2**attempts, _MAX_PAUSE_SECONDS) * random.uniform(0.5, 1)
        asyncio.get_running_loop().call_later(pause, self._put_back, batch)

    def _put_back(self, batch: list[_Waiting]) -> None:
        self._queue.extendleft(reversed(batch))
        self._send()
