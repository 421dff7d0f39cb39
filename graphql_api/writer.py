"""Group commit: submissions that arrive together share a BatchWrite, each answered by its own status.

Whatever waits is sent as soon as a call returns, so the batch grows with the load and a lone
submission waits for nobody. The trap: a BatchWrite refuses to hold a document twice, and retries of
one idempotency key do write the same document at the same time; such a write waits for the next batch.
"""

import asyncio
import logging
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import grpc

from documents import DropzoneError, Unavailable
from graphql_api import metrics
from graphql_api.firestore import TRANSIENT, Firestore

MAX_BATCH_WRITES = 500
MAX_BATCH_BYTES = 9 * 2**20
MAX_CALLS = 2
_CODES = {code.value[0]: code.name for code in grpc.StatusCode}
_TRANSIENT_CODES = {code.value[0] for code in TRANSIENT}
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.02, 1.0

logger = logging.getLogger(__name__)


class AlreadyExists(DropzoneError):
    """The write had the precondition that there is no such document, but there is one."""


@dataclass(slots=True, eq=False)
class _Waiting:
    write: Any
    size: int
    deadline: float
    done: asyncio.Future[Any]
    attempts: int = field(default=0)


class Writer:
    """Writes documents with as few calls as the moment allows. Used by one event loop."""

    def __init__(self, firestore: Firestore, *, timeout_seconds: float, waiting_bytes: int) -> None:
        self._firestore = firestore
        self._timeout = timeout_seconds
        self._most_bytes = waiting_bytes
        self._writes = 0
        self._bytes = 0
        self._queue: deque[_Waiting] = deque()
        self._calls: set[asyncio.Task[None]] = set()

    async def write(self, write: Any) -> Any:
        """Return the `WriteResult` of `write` once Firestore has committed it.

        Raises `AlreadyExists` where its precondition says so, and `Unavailable` where Firestore has
        not confirmed it in time (it may still have been written) or too much is waiting already.
        """
        size = write.ByteSize()
        if self._bytes + size > self._most_bytes and self._bytes:
            raise Unavailable("too many submissions are waiting for Firestore; send this one again later")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(write, size, loop.time() + self._timeout, loop.create_future())
        self._writes += 1
        self._bytes += size
        self._queue.append(waiting)
        self._send()
        try:
            async with asyncio.timeout_at(waiting.deadline):
                return await waiting.done
        except TimeoutError:
            raise Unavailable(
                "Firestore has not confirmed in time; send it again, with an idempotency key so that it is stored once"
            ) from None
        finally:
            self._writes -= 1
            self._bytes -= size

    @property
    def waiting(self) -> tuple[int, int]:
        """How many writes are not answered yet, and their bytes."""
        return self._writes, self._bytes

    async def close(self) -> None:
        """Wait until everything that was taken is answered."""
        while self._calls:
            await asyncio.wait(self._calls)

    def _send(self) -> None:
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
        while self._queue and len(batch) < MAX_BATCH_WRITES:
            waiting = self._queue.popleft()
            if waiting.done.done():
                continue  # nobody waits any more
            name = waiting.write.update.name
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
        metrics.BATCH_WRITES.observe(len(batch))
        try:
            response = await self._firestore.batch_write(waiting.write for waiting in batch)
        except Unavailable:
            self._again(batch)
        except Exception as error:  # noqa: BLE001 - whoever waits is told, whatever it was
            _fail(batch, error)
        else:
            again = []
            for waiting, result, status in zip(batch, response.write_results, response.status, strict=True):
                if waiting.done.done():
                    continue
                if status.code == 0:
                    waiting.done.set_result(result)
                    continue
                if status.code == grpc.StatusCode.ALREADY_EXISTS.value[0]:
                    waiting.done.set_exception(AlreadyExists(status.message))
                    continue
                metrics.firestore_errors(_CODES.get(status.code, "UNKNOWN")).inc()
                if status.code in _TRANSIENT_CODES:
                    again.append(waiting)
                else:
                    waiting.done.set_exception(RuntimeError(f"Firestore refused a write: {status.message}"))
            if again:
                self._again(again)

    def _again(self, batch: list[_Waiting]) -> None:
        """Send `batch` once more after a pause with jitter; deadlines end what never succeeds."""
        attempts = max(waiting.attempts for waiting in batch)
        for waiting in batch:
            waiting.attempts += 1
        pause = min(_FIRST_PAUSE_SECONDS * 2**attempts, _LONGEST_PAUSE_SECONDS) * random.uniform(0.5, 1)
        asyncio.get_running_loop().call_later(pause, self._put_back, batch)

    def _put_back(self, batch: list[_Waiting]) -> None:
        self._queue.extendleft(reversed(batch))
        self._send()


def _fail(batch: list[_Waiting], error: Exception) -> None:
    for waiting in batch:
        if not waiting.done.done():
            waiting.done.set_exception(error)
