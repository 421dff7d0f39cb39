"""Turns: large samples are computed one at a time, and the turns alternate between submitters.

One at a time limits memory to a small multiple of the largest sample. If a submitter sends many
large samples, a large sample of another submitter still has the next turn but one at the latest.

A sample waits for its turn for a limited time, and few samples of a submitter wait. The event of a
sample that does not get a turn is sent again later, so it does not occupy a connection meanwhile.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from storage.documents import Unavailable

MAX_WAIT_SECONDS = 25.0
"""More than the longest computation, so that a sample of another submitter gets its turn before this time."""

MAX_WAITING_PER_SUBMITTER = 4
RETRY_AFTER_SECONDS = 2


class Turns:
    """Gives one task at a time its turn. Belongs to one event loop."""

    def __init__(
        self,
        *,
        max_wait_seconds: float = MAX_WAIT_SECONDS,
        max_waiting_per_submitter: int = MAX_WAITING_PER_SUBMITTER,
    ) -> None:
        self._max_wait_seconds = max_wait_seconds
        self._max_waiting = max_waiting_per_submitter
        self._is_taken = False
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()  # the next submitter is first
        self._keys: set[str] = set()

    @asynccontextmanager
    async def turn(self, submitter: str, key: str) -> AsyncIterator[None]:
        """Wait for a turn. `key` names the work: the same work is done once at a time.

        Raises `Unavailable` if the same work has or awaits its turn, if too many tasks of the submitter
        wait, or if the wait takes too long.
        """
        if key in self._keys:
            raise Unavailable("the same sample is being computed", retry_after=RETRY_AFTER_SECONDS)
        self._keys.add(key)
        try:
            await self._take(submitter)
            try:
                yield
            finally:
                self._pass_on()
        finally:
            self._keys.discard(key)

    async def _take(self, submitter: str) -> None:
        if not self._is_taken:
            self._is_taken = True
            return
        queue = self._waiting.setdefault(submitter, deque())
        if len(queue) >= self._max_waiting:
            raise Unavailable(
                f"{len(queue)} large samples of the submitter wait for their turn", retry_after=RETRY_AFTER_SECONDS
            )
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            async with asyncio.timeout(self._max_wait_seconds):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._pass_on()
            else:
                queue.remove(turn)
                if not queue and self._waiting.get(submitter) is queue:
                    del self._waiting[submitter]
            if isinstance(error, TimeoutError):
                raise Unavailable(
                    f"waited {self._max_wait_seconds:g} s for other large samples", retry_after=RETRY_AFTER_SECONDS
                ) from None
            raise

    def _pass_on(self) -> None:
        """Give the turn to the next submitter that waits."""
        while self._waiting:
            submitter, queue = next(iter(self._waiting.items()))
            turn = queue.popleft()
            if queue:
                self._waiting.move_to_end(submitter)
            else:
                del self._waiting[submitter]
            if not turn.done():
                turn.set_result(None)
                return
        self._is_taken = False
