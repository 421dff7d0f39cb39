"""Retries of transient errors.

A response can be lost after the server has committed the request. Retry only requests that are safe to repeat: queries,
and submissions with an idempotency key.
"""

import logging
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import ParamSpec, TypeVar

import stamina

from dropzone.errors import TRANSIENT

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("dropzone")
# stamina logs `stamina.retry_scheduled` without the error. Python would print it if logging is not configured.
logging.getLogger("stamina").addHandler(logging.NullHandler())

_FIRST_WAIT_SECONDS, _MAX_WAIT_SECONDS, _JITTER_SECONDS = 0.1, 5.0, 0.5


class Retrying:
    """Calls a coroutine function again after a transient error."""

    def __init__(self, caller: stamina.BoundAsyncRetryingCaller) -> None:
        self._caller = caller

    async def __call__(self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of the first successful call."""
        # stamina would log the `repr` of the arguments, which contain samples of any size.
        return await self._caller(partial(function, *args, **kwargs))


def retrying(seconds: float | None) -> Retrying:
    """Return a caller that retries transient errors with exponential backoff, or after the time in `Retry-After`.

    The caller schedules no retry after `seconds` have passed since the first attempt. If `seconds` is None, it retries
    without end.
    """

    def is_retried_after(error: Exception) -> bool | float:
        if not isinstance(error, TRANSIENT):
            return False
        if seconds is not None and (error.retry_after or 0.0) > seconds:
            return False
        if seconds:  # streams, which retry without end, log each reconnection themselves
            logger.warning("%s; retrying for up to %g s", error, seconds)
        return True if error.retry_after is None else error.retry_after + random.uniform(0.0, _JITTER_SECONDS)

    caller = stamina.AsyncRetryingCaller(
        attempts=1 if seconds == 0 else None,
        timeout=seconds or None,
        wait_initial=_FIRST_WAIT_SECONDS,
        wait_max=_MAX_WAIT_SECONDS,
        wait_jitter=_JITTER_SECONDS,
    )
    return Retrying(caller.on(is_retried_after))
