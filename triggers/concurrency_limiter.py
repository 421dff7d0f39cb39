"""Limits how many samples are computed at the same time: `MAX_RUNNING`, and one sample of each submitter.

The memory for the numbers of these samples is limited. A sample that needs more memory is computed alone. If several
submitters wait, the submitter whose last turn was the longest time ago is next. A submitter with many large samples
therefore does not delay the large sample of another submitter.

A sample waits for its turn for a limited time, and a limited number of samples of a submitter wait. If a sample does
not get a turn, its event is sent again later. Until then, the event does not occupy a connection.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from storage.documents import Unavailable

MAX_RUNNING = 2
MAX_RUNNING_BYTES = 384 * 2**20
MAX_WAIT_SECONDS = 25.0
"""More than the longest computation, so that a sample of another submitter gets its turn before this time."""

MAX_WAITING_PER_SUBMITTER = 4
RETRY_AFTER_SECONDS = 2

_Waiting = tuple[int, "asyncio.Future[None]"]
"""The bytes that a task needs, and a future that is done when it has its turn."""


class ConcurrencyLimiter:
    """Gives tasks their turns, within the limits. Belongs to one event loop."""

    def __init__(
        self,
        *,
        max_running: int = MAX_RUNNING,
        max_running_bytes: int = MAX_RUNNING_BYTES,
        max_wait_seconds: float = MAX_WAIT_SECONDS,
        max_waiting_per_submitter: int = MAX_WAITING_PER_SUBMITTER,
    ) -> None:
        self._max_running = max_running
        self._max_running_bytes = max_running_bytes
        self._max_wait_seconds = max_wait_seconds
        self._max_waiting = max_waiting_per_submitter
        self._running: dict[str, int] = {}  # the bytes of each submitter that has a turn
        self._waiting: OrderedDict[str, deque[_Waiting]] = OrderedDict()  # the next submitter is first
        self._keys: set[Hashable] = set()

    @property
    def has_waiting(self) -> bool:
        """Whether a task waits for its turn."""
        return bool(self._waiting)

    @asynccontextmanager
    async def turn(self, submitter: str, key: Hashable, size: int) -> AsyncIterator[None]:
        """Wait for a turn for work that needs `size` bytes. Only one task with the same `key` can have or await a turn.

        Raises `Unavailable` if another task with the same key has or awaits a turn, if too many tasks of the submitter
        wait, or if the wait takes too long.
        """
        if key in self._keys:
            raise Unavailable("the same sample is being computed", retry_after=RETRY_AFTER_SECONDS)
        self._keys.add(key)
        try:
            await self._take(submitter, size)
            try:
                yield
            finally:
                self._end(submitter)
        finally:
            self._keys.discard(key)

    async def _take(self, submitter: str, size: int) -> None:
        queue = self._waiting.get(submitter, deque())
        if len(queue) >= self._max_waiting:
            raise Unavailable(
                f"{len(queue)} samples of this submitter are already waiting to be computed",
                retry_after=RETRY_AFTER_SECONDS,
            )
        turn = asyncio.get_running_loop().create_future()
        self._waiting[submitter] = queue
        queue.append((size, turn))
        self._start()
        try:
            async with asyncio.timeout(self._max_wait_seconds):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._end(submitter)
            else:
                self._remove(submitter, (size, turn))
                self._start()  # the next tasks may need fewer bytes than this task
            if isinstance(error, TimeoutError):
                raise Unavailable(
                    f"waited {self._max_wait_seconds:g} s while other samples were computed",
                    retry_after=RETRY_AFTER_SECONDS,
                ) from None
            raise

    def _start(self) -> None:
        """Give turns to the next tasks, as long as the limits allow."""
        while len(self._running) < self._max_running:
            submitter = next((name for name in self._waiting if name not in self._running), None)
            if submitter is None:
                return
            size, turn = self._waiting[submitter][0]
            if self._running and sum(self._running.values()) + size > self._max_running_bytes:
                return
            self._remove(submitter, (size, turn))
            if not turn.done():
                self._running[submitter] = size
                turn.set_result(None)

    def _end(self, submitter: str) -> None:
        del self._running[submitter]
        if submitter in self._waiting:
            self._waiting.move_to_end(submitter)
        self._start()

    def _remove(self, submitter: str, waiting: _Waiting) -> None:
        """Remove a waiting task. If the task was cancelled, it may have been removed already."""
        queue = self._waiting.get(submitter)
        if queue is not None and waiting in queue:
            queue.remove(waiting)
            if not queue:
                del self._waiting[submitter]
