"""A log that writes at most one line per `LOG_SECONDS`, with the number of lines that it left out.

A full disk or an outage of Firestore fails every event in the same way.
"""

import logging
import math
import time
from collections.abc import Callable

LOG_SECONDS = 60.0


class ThrottledLog:
    """Writes warnings to `logger`. `clock` returns monotonic time in seconds."""

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._omitted = 0
        self._logged_at = -math.inf

    def warning(self, message: str, *arguments: object, cause: BaseException | None = None) -> None:
        """Log a warning, unless one was logged less than `LOG_SECONDS` ago. `cause` adds a traceback."""
        now = self._clock()
        if now - self._logged_at < LOG_SECONDS:
            self._omitted += 1
            return
        if self._omitted:
            message, arguments = f"{message} (and %d similar warnings before)", (*arguments, self._omitted)
        self._omitted, self._logged_at = 0, now
        self._logger.warning(message, *arguments, exc_info=cause)
