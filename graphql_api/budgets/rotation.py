"""A rotation: items that wait in queues with names, such as submitters or addresses. The queues take turns."""

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Rotation(Generic[T]):
    """The items that wait. A queue with hundreds of items does not delay the first item of another queue."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[T]] = {}
        """The queues that are not empty. The first one has the next turn."""
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, name: str, item: T) -> None:
        """Add an item at the end of the queue `name`."""
        self._length += 1
        self._queues.setdefault(name, deque()).append(item)

    def take(self) -> T:
        """Remove and return the first item of the queue that has the next turn. There must be an item."""
        name = next(iter(self._queues))
        queue = self._queues.pop(name)
        item = queue.popleft()
        if queue:
            self._queues[name] = queue  # after all other queues
        self._length -= 1
        return item
