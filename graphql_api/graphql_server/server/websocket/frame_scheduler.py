"""Shares the time for WebSocket frames among all WebSockets of the process.

A frame of six bytes takes about ten microseconds to parse, so a megabyte of small frames would block the event loop for
seconds. In each iteration of the event loop, all WebSockets together parse a limited number of frames. If more frames
have arrived, the WebSockets take turns, and other work runs between the turns.

A message of 60 KB takes 0.4 ms until its operation waits to start. A large frame therefore counts as several frames.
"""

import asyncio
from collections import deque
from collections.abc import Callable

_MAX_FRAMES_PER_TURN = 64
MAX_FRAMES_PER_WEBSOCKET = 16
"""The frames that one WebSocket parses in its turn."""

_PAUSE_SECONDS = 0.001
_FRAME_BYTES = 4 * 1024
"""A frame with more bytes counts as several."""


def frames_in(size: int) -> int:
    """Return the number of frames as which a frame of this size counts."""
    return 1 + size // _FRAME_BYTES


class FrameScheduler:
    """The frames that may be parsed in this iteration of the event loop, and the WebSockets that wait."""

    def __init__(self) -> None:
        self._frames_left = _MAX_FRAMES_PER_TURN
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_turn_scheduled = False

    @property
    def max_frames(self) -> int:
        """The number of frames that a WebSocket may parse now if it does not wait. 0 while other WebSockets wait."""
        return 0 if self._waiting else min(self._frames_left, MAX_FRAMES_PER_WEBSOCKET)

    def spend(self, frames: int) -> None:
        """Count frames that were parsed."""
        self._frames_left -= frames
        if not self._is_turn_scheduled:
            self._is_turn_scheduled = True
            asyncio.get_running_loop().call_soon(self._start_turn)

    def wait(self, parse: Callable[[], None]) -> None:
        """Call `parse` once, in a later iteration of the event loop."""
        self._waiting.append(parse)
        self.spend(0)

    def _start_turn(self) -> None:
        self._frames_left = _MAX_FRAMES_PER_TURN
        for _ in range(len(self._waiting)):
            if self._frames_left <= 0:
                break
            self._waiting.popleft()()
        self._is_turn_scheduled = bool(self._waiting)
        if self._waiting:
            asyncio.get_running_loop().call_later(_PAUSE_SECONDS, self._start_turn)
