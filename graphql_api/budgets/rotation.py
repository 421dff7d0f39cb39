"""Queues that take turns: those of submitters, of addresses, or of connections.

A submitter with hundreds of items in its queue does not delay the first item of another submitter.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice, takewhile
from typing import Generic, TypeVar

T = TypeVar("T")

MANY_ITEMS = 64
"""If more items wait in a queue, they are many."""


@dataclass(slots=True)
class _Queue(Generic[T]):
    """Items that wait."""

    items: OrderedDict[T, None] = field(default_factory=OrderedDict)
    _is_newest_next: bool = True

    def take(self, *, is_shared: bool) -> T:
        """Remove and return the oldest item. If many wait in a shared queue, every second item is the newest one."""
        is_newest = is_shared and self._is_newest_next and len(self.items) > MANY_ITEMS
        self._is_newest_next = not is_newest
        item, _ = self.items.popitem(last=is_newest)
        return item


class Rotation(Generic[T]):
    """Items that wait in queues with names, such as submitters or addresses. The queues take turns.

    A queue with hundreds of items does not delay the first item of another queue. An item waits once in a queue.
    """

    def __init__(self, *, is_shared: bool = False) -> None:
        """Create a rotation. With `is_shared`, different clients can share a queue.

        For example, all clients of an address that send no key share one. If one of them adds thousands of items, a new
        item of another client is taken soon, and an old item waits twice as long.
        """
        self._is_shared = is_shared
        self._queues: dict[str, _Queue[T]] = {}
        """The queues that are not empty. The first one has the next turn."""
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, name: str, item: T) -> None:
        """Add an item at the end of the queue `name`, unless it waits there."""
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = _Queue()
        self._length += item not in queue.items
        queue.items[item] = None

    def remove(self, name: str, item: T) -> None:
        """Remove an item from the queue `name` if the queue contains it, in constant time."""
        queue = self._queues.get(name)
        if queue is None or item not in queue.items:
            return
        del queue.items[item]
        if not queue.items:
            del self._queues[name]
        self._length -= 1

    def take(self) -> T:
        """Remove and return an item of the queue that has the next turn. There must be an item."""
        name = next(iter(self._queues))
        queue = self._queues.pop(name)
        item = queue.take(is_shared=self._is_shared)
        if queue.items:
            self._queues[name] = queue  # after all other queues
        self._length -= 1
        return item

    def take_leading(self, is_wanted: Callable[[T], bool], limit: int) -> list[T]:
        """Remove and return the oldest items of the longest queue up to the first one that is not wanted.

        Returns at most `limit` items, and none if the longest queue has only a few.
        """
        if self._length <= MANY_ITEMS:
            return []
        name, queue = max(self._queues.items(), key=lambda each: len(each[1].items))
        items = list(takewhile(is_wanted, islice(queue.items, limit))) if len(queue.items) > MANY_ITEMS else []
        for item in items:
            self.remove(name, item)
        return items

    def take_from_longest(self, longer_than: int = MANY_ITEMS) -> T | None:
        """Remove and return the oldest item of the longest queue. Return None if it has at most `longer_than` items."""
        if self._length <= longer_than:
            return None
        name, queue = max(self._queues.items(), key=lambda each: len(each[1].items))
        if len(queue.items) <= longer_than:
            return None
        item = next(iter(queue.items))
        self.remove(name, item)
        return item


class FairQueue(Rotation[asyncio.Future[None]]):
    """Requests that wait for a turn, by submitter."""

    async def wait(self, submitter: str) -> None:
        """Wait for a turn of `submitter`."""
        await self.new_turn(submitter)

    def new_turn(self, submitter: str) -> "asyncio.Future[None]":
        """Return a future that is done when `submitter` has a turn."""
        turn = asyncio.get_running_loop().create_future()
        self.add(submitter, turn)
        return turn

    def grant(self) -> bool:
        """Give the next request its turn. Return whether there was one."""
        while self:
            turn = self.take()
            if not turn.done():  # a waiting request can be cancelled or refused
                turn.set_result(None)
                return True
        return False
