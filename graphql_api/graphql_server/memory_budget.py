"""What the large requests of a process may hold in memory together.

Each is bounded, but clients are many, and a body of sixty megabytes can be a few kilobytes on the wire. So whoever
holds much takes a share of what there is, and is refused when that is used up. Nobody waits for room: those who
wait would hold what they have, and so would all of them. Whoever is alone may hold as much as his own bound allows.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from storage.documents.errors import Unavailable


class Capacity:
    """So many bytes for all."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held = 0

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """Give a share that is empty at first, and is given back at the end."""
        share = Share(self)
        try:
            yield share
        finally:
            share.hold(0)

    def change(self, before: int, after: int) -> None:
        """Let a share have `after` bytes in place of `before`. Raises `Unavailable` where they are not there."""
        others = self._held - before
        if after > before and others and others + after > self._max_bytes:
            raise Unavailable("too many large requests are under way; send this one again later")
        self._held = others + after


class Share:
    """What one of them holds."""

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self._held = 0

    def hold(self, size: int) -> None:
        """Hold so many bytes from now on. Raises `Unavailable`, and holds what it held."""
        self._capacity.change(self._held, size)
        self._held = size
