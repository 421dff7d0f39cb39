"""The tasks that open connections, and that wait for the clients: above all, TLS handshakes in progress.

The limits on connections apply only after the handshake. If there are too many handshakes, one of an address with many
of them is ended. Idle clients can therefore not block other clients, and cannot end their handshakes.
"""

import asyncio
from collections import Counter
from itertools import islice

_MAX_COMPARED = 64
"""The handshakes of which one is ended: the oldest, but at most a quarter of all. Finding it takes about 10 µs."""


class Handshakes:
    """The tasks, in the order in which they were added, with the addresses of their clients."""

    def __init__(self, max_tasks: int) -> None:
        self._max_tasks = max_tasks
        self._addresses: dict[asyncio.Task[None], str] = {}
        self._counts = Counter[str]()

    def add(self, task: "asyncio.Task[None]", address: str) -> None:
        """Add a task. If there are too many, cancel an old one of the address that has the most."""
        if len(self._addresses) >= self._max_tasks:
            oldest = islice(self._addresses, min(_MAX_COMPARED, 1 + len(self._addresses) // 4))
            ended = max(oldest, key=lambda each: self._counts[self._addresses[each]])
            self.remove(ended)  # it ends later, and further tasks can be added before that
            ended.cancel()
        self._addresses[task] = address
        self._counts[address] += 1

    def remove(self, task: "asyncio.Task[None]") -> None:
        """Remove a task, if it is there."""
        address = self._addresses.pop(task, None)
        if address is not None:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]
