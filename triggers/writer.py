"""Group commit: results that are ready at the same time share a BatchWrite, each with its own status.

Whatever waits is sent when a call before it returns, so a batch grows with the load and a lone result
waits for nobody. Were there one call at a time, all events would soon be in it, and function and Firestore take
turns at being idle; so where many results wait they get a call of their own. The trap: Firestore refuses a
whole BatchWrite in which a document stands twice, and two events of one sample do come at the same time; the
second one waits for the next call.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

MAX_BATCH_WRITES = 500
MAX_BATCH_BYTES = 9 * 2**20
MAX_CALLS = 4
MANY = 30
"""So many writes do not wait for the end of a call."""

Send = Callable[[Sequence[Any]], Awaitable[Sequence[Any]]]
"""Send some `Write`s in one call and return the `google.rpc.Status` of each."""

_Waiting = tuple[Any, asyncio.Future[Any]]


class Writer:
    """Sends writes with as few calls as the moment allows. Belongs to one event loop."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: deque[_Waiting] = deque()
        self._sending: set[asyncio.Task[None]] = set()

    async def write(self, write: Any) -> Any:
        """Return the status of `write`. Raises what `send` raised: nobody knows then if it was written."""
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append((write, answer))
        if not self._sending or (len(self._waiting) >= MANY and len(self._sending) < MAX_CALLS):
            self._sending.add(asyncio.create_task(self._send_all()))
        return await answer

    async def _send_all(self) -> None:
        while batch := self._next_batch():
            try:
                statuses = await self._send([write for write, _ in batch])
                for (_, answer), status in zip(batch, statuses, strict=True):
                    if not answer.done():  # whoever waited may have been cancelled
                        answer.set_result(status)
            except Exception as error:  # noqa: BLE001 - it is raised where each of them waits
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
        # Not by a callback of the task: what is to be written before that runs would be sent by nobody.
        self._sending = {sending for sending in self._sending if sending is not asyncio.current_task()}

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        later: list[_Waiting] = []
        names: set[str] = set()
        size = 0
        while self._waiting and len(batch) < MAX_BATCH_WRITES:
            write, answer = self._waiting.popleft()
            size += write.ByteSize()
            if write.update.name in names or (batch and size > MAX_BATCH_BYTES):
                size -= write.ByteSize()
                later.append((write, answer))
            else:
                names.add(write.update.name)
                batch.append((write, answer))
        self._waiting.extendleft(reversed(later))
        return batch
