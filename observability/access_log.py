"""The access log: one line per request, with the fields of Cloud Logging's `httpRequest`.

Under load, most lines are about requests that succeed. At most `MAX_LINES_PER_SECOND` are written, and the next line
says how many were omitted. Metrics count all requests.

A line contains the route and not the path, because a query string can contain a key or data.
"""

import logging
import time
from collections.abc import Callable

from observability.request_context import RequestContext

MAX_LINES_PER_SECOND = 100
"""Measured: 100 lines a second use less than 1 % of a processor core."""
_SERVER_ERROR = 500

logger = logging.getLogger("access")


class AccessLog:
    """Writes lines about requests. `clock` returns monotonic time in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._succeeded, self._failed = _Rate(clock), _Rate(clock)

    def write(
        self,
        context: RequestContext,
        *,
        method: str,
        route: str,
        status: int,
        seconds: float,
        request_bytes: int,
        response_bytes: int,
        address: str,
    ) -> None:
        """Write a line about a request that has ended, unless too many lines were written in this second."""
        is_failure = status >= _SERVER_ERROR
        omitted = (self._failed if is_failure else self._succeeded).admit()
        if omitted is None:
            return
        extra: dict[str, object] = {
            "httpRequest": {
                "requestMethod": method,
                "requestUrl": route,
                "requestSize": str(request_bytes),
                "status": status,
                "responseSize": str(response_bytes),
                "remoteIp": address,
                "latency": f"{seconds:.6f}s",
            },
        }
        if omitted:
            extra["omitted"] = omitted
        logger.log(
            logging.WARNING if is_failure else logging.INFO,
            "%s %s %d, %.1f ms, %d bytes in, %d bytes out",
            method,
            route,
            status,
            seconds * 1000,
            request_bytes,
            response_bytes,
            extra=extra,
        )


class _Rate:
    """Admits `MAX_LINES_PER_SECOND` lines in each second."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._second = -1
        self._lines = 0
        self._omitted = 0

    def admit(self) -> int | None:
        """Return how many lines were omitted before this line, or None if this line is omitted."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._lines = second, 0
        if self._lines >= MAX_LINES_PER_SECOND:
            self._omitted += 1
            return None
        self._lines += 1
        omitted, self._omitted = self._omitted, 0
        return omitted
