"""Shares the time for parsing HTTP data among all connections of the process.

The chunks of a body may have one byte each. A megabyte of such a body takes half a second to parse. In each iteration
of the event loop, all connections together parse data for a few milliseconds. If more data has arrived, the connections
wait in a queue, and other work runs between their turns.

The data of most requests takes microseconds. A request that has used much more, or whose body has chunks, waits in a
queue of its own, so it does not delay them.
"""

import asyncio
from collections import deque
from collections.abc import Callable

_MAX_SECONDS = 0.002
"""CPU time for parsing in one iteration of the event loop. The last part may exceed it."""

_MAX_HEAVY_SECONDS = 0.001
"""CPU time of the turn of one heavy request. Each iteration has one such turn."""

MAX_LIGHT_SECONDS = 0.0005
"""A request that has used this CPU time waits in the queue of heavy requests."""


class ParsingTurns:
    """The time that is left in this iteration of the event loop, and the connections that wait."""

    def __init__(self) -> None:
        self._used_seconds = 0.0
        self._light: deque[Callable[[], None]] = deque()
        self._heavy: deque[Callable[[], None]] = deque()
        self._is_turn_scheduled = False
        self._is_heavy_turn = False

    def may_parse(self, request_seconds: float) -> bool:
        """Return whether a connection may parse now. Its request has already used `request_seconds`."""
        if self._is_heavy_turn:  # otherwise, parts that take microseconds would wait as long as parts that take 2 ms
            return self._used_seconds < _MAX_HEAVY_SECONDS
        is_first = not self._light and (request_seconds < MAX_LIGHT_SECONDS or not self._heavy)
        return is_first and self._used_seconds < _MAX_SECONDS

    def use(self, seconds: float) -> None:
        """Count time that was used for parsing."""
        self._used_seconds += seconds
        self._schedule_turn()

    def wait(self, parse: Callable[[], None], request_seconds: float) -> None:
        """Call `parse` once, in a later iteration of the event loop."""
        queue = self._light if request_seconds < MAX_LIGHT_SECONDS else self._heavy
        queue.append(parse)
        self._schedule_turn()

    def _schedule_turn(self) -> None:
        if not self._is_turn_scheduled:
            self._is_turn_scheduled = True
            asyncio.get_running_loop().call_soon(self._start_turn)

    def _start_turn(self) -> None:
        """Let one heavy request parse, and then light requests until the time is used."""
        self._is_turn_scheduled = False
        self._used_seconds = 0.0
        try:
            if self._heavy:
                self._is_heavy_turn = True
                self._heavy.popleft()()
                self._is_heavy_turn = False
            for _ in range(len(self._light)):
                self._light.popleft()()
                if self._used_seconds >= _MAX_SECONDS:
                    break
        finally:  # the error of one connection, such as a MemoryError, must not stop the others
            self._is_heavy_turn = False
            if self._light or self._heavy:
                self._schedule_turn()
