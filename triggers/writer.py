"""Group commit: results that are ready at the same time share a BatchWrite, each with its own status.

Whatever waits is sent when the call before it returns, so a batch grows with the load and a lone result
waits for nobody. The trap: Firestore refuses a whole BatchWrite in which a document stands twice, and two
events of one sample do come at the same time; the second one waits for the next call.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

MAX_BATCH_WRITES = 500
MAX_BATCH_BYTES = 9 * 2**20

Send = Callable[[Sequence[Any]], Awaitable[Sequence[Any]]]
"""Send some `Write`s in one call and return the `google.rpc.Status` of each."""

_Waiting = tuple[Any, asyncio.Future[Any]]


class Writer:
    """Sends writes with as few calls as the moment allows. Belongs to one event loop."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: deque[_Waiting] = deque()
        self._sending: asyncio.Task[None] | None = None

    async def write(self, write: Any) -> Any:
        """Return the status of `write`. Raises what `send` raised: nobody knows then if it was written."""
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append((write, answer))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all())
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
        self._sending = None

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
