"""A queue of requests that wait for a turn. Submitters take turns, so a single request does not wait for hundreds."""

import asyncio
from collections import deque


class FairQueue:
    """Requests that wait, by submitter. Belongs to one event loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """The queues that are not empty. The first submitter has the next turn."""

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def is_empty(self) -> bool:
        """Whether no request waits."""
        return not self._waiting

    async def wait(self, submitter: str) -> None:
        """Wait for a turn of `submitter`."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(submitter, deque()).append(turn)
        await turn

    def grant(self) -> bool:
        """Give the next request its turn. Return whether there was one."""
        while self._waiting:
            submitter = next(iter(self._waiting))
            queue = self._waiting.pop(submitter)
            turn = queue.popleft()
            while turn.done() and queue:  # a waiting request can be cancelled
                turn = queue.popleft()
            if queue:
                self._waiting[submitter] = queue  # after all other submitters
            if not turn.done():
                turn.set_result(None)
                return True
        return False
