"""The operations of one WebSocket that wait to start.

A client can send thousands of operations in the time in which a few start. The next operation of a WebSocket is
therefore read only when few of its operations wait, or none if the last one is large.
"""

import asyncio

_MAX_SMALL_OPERATIONS = 4
"""Each takes 9 to 11 KB of memory besides its request."""

_MAX_SMALL_BYTES = 4 * 1024
"""If an operation has more bytes, it is large.

With 40,000 operations of 60 KB over 400 WebSockets, the API used up to 420 MiB without this limit, and 289 MiB with it
(measured on a busy machine).
"""


class WaitingOperations:
    """The operations that wait for their turn, or whose documents are being read."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Event, None] = {}
        self._max_waiting = _MAX_SMALL_OPERATIONS

    async def wait_for_room(self) -> None:
        """Wait until the next operation may be added."""
        while len(self._waiting) >= self._max_waiting:
            await next(iter(self._waiting)).wait()

    def add(self, size: int, *, is_prepared: bool) -> asyncio.Event:
        """Add an operation of `size` bytes. Return an event that `remove` sets.

        An operation whose document has to be read (`is_prepared` is false) counts as large.
        """
        self._max_waiting = _MAX_SMALL_OPERATIONS if is_prepared and size <= _MAX_SMALL_BYTES else 1
        operation = asyncio.Event()
        self._waiting[operation] = None
        return operation

    def remove(self, operation: asyncio.Event) -> None:
        """Remove an operation that has started or ended, if it waits."""
        self._waiting.pop(operation, None)
        operation.set()
