"""Retries of transient errors.

A response can be lost after the server has committed the request. Retry only requests that are safe to repeat: queries,
and submissions with an idempotency key.
"""

import random

import stamina

from dropzone.errors import TRANSIENT

_FIRST_WAIT_SECONDS, _MAX_WAIT_SECONDS, _JITTER_SECONDS = 0.1, 5.0, 0.5


def retrying(seconds: float | None) -> stamina.BoundAsyncRetryingCaller:
    """Return a caller that retries transient errors with exponential backoff, or after the time in `Retry-After`.

    The caller schedules no retry after `seconds` have passed since the first attempt. If `seconds` is None, it retries
    without end.
    """

    def is_retried_after(error: Exception) -> bool | float:
        if not isinstance(error, TRANSIENT):
            return False
        if error.retry_after is None:
            return True
        is_too_late = seconds is not None and error.retry_after > seconds
        return False if is_too_late else error.retry_after + random.uniform(0.0, _JITTER_SECONDS)

    caller = stamina.AsyncRetryingCaller(
        attempts=1 if seconds == 0 else None,
        timeout=seconds or None,
        wait_initial=_FIRST_WAIT_SECONDS,
        wait_max=_MAX_WAIT_SECONDS,
        wait_jitter=_JITTER_SECONDS,
    )
    return caller.on(is_retried_after)
