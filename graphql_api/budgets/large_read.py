"""Reading large documents: a few operations of a submitter at a time, each with a reservation of memory."""

import asyncio
from types import TracebackType
from typing import Self

from graphql_api.budgets.budgets import Budgets, Sender
from graphql_api.budgets.memory_budget import MIN_RESERVED_BYTES

_COPIES = 4
"""How many times a document can be in memory while it is read: as chunks, bytes, values, and in the response."""


class LargeRead:
    """The large documents that one operation reads.

    An operation waits for its slot only once, before its first large document. Two operations therefore cannot wait
    for each other. It gives the slot back when its response is ready. Memory for the response stays reserved until the
    client has received it.
    """

    def __init__(self, budgets: Budgets, sender: Sender) -> None:
        budget = budgets.charged(sender)
        self._slots = budget.large_reads
        self._slot: asyncio.Future[None] | None = None
        self._reservation = budgets.memory.new_reservation(budget.request_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    async def reserve(self, byte_count: int, response_bytes: int = 0) -> None:
        """Reserve memory for documents of `byte_count` bytes in total, which use `response_bytes` of the response.

        Reserve nothing if both numbers are small. Two copies of each document in the response are included. Further
        copies need more memory. Raises `RateLimited` if too many operations wait, or if the share of the submitter is
        exhausted, and `Unavailable` if the memory budget is exhausted.
        """
        if max(byte_count, response_bytes) <= MIN_RESERVED_BYTES:
            return
        if self._slot is None:
            self._slot = asyncio.ensure_future(self._slots.take(1))
        await asyncio.shield(self._slot)
        self._reservation.resize(_COPIES * byte_count + max(0, response_bytes - 2 * byte_count))

    def end(self, response_bytes: int = 0) -> None:
        """Let another operation read. Keep memory for a response of `response_bytes`, if memory is reserved."""
        self._reservation.resize(min(self._reservation.size, response_bytes))
        slot, self._slot = self._slot, None
        if slot is None:
            return
        if not slot.done():
            slot.cancel()
        elif not slot.cancelled() and slot.exception() is None:
            self._slots.give_back(1)
