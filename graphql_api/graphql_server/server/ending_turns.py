"""Ends the requests of clients that have disconnected, a few in each iteration of the event loop.

The end of a request takes about 0.1 ms. Thousands of clients can disconnect at the same time. If all of their requests
ended in one iteration, other clients would wait for a quarter of a second.
"""

import asyncio
from collections import deque

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

_MAX_ENDED = 16
"""The requests that end in one iteration."""


class EndingTurns:
    """The requests that wait until they end. Belongs to one event loop."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[RequestResponseCycle, FlowControl]] = deque()

    def wait(self, cycle: RequestResponseCycle, flow: FlowControl) -> None:
        """Discard what the application sends from now on. Let it notice the end in this or in a later iteration."""
        cycle.disconnected = True
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._end_some)
        self._waiting.append((cycle, flow))

    def _end_some(self) -> None:
        for _ in range(min(_MAX_ENDED, len(self._waiting))):
            cycle, flow = self._waiting.popleft()
            cycle.message_event.set()
            flow.resume_writing()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._end_some)
