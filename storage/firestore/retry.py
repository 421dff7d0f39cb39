"""The status codes after which a retry can succeed, and the pauses before retries."""

import random
from collections.abc import Iterator

import grpc

TRANSIENT = frozenset(
    {
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNKNOWN,
    }
)
"""Status codes after which the same request can succeed later."""


def backoff(first_seconds: float = 0.02, max_seconds: float = 1.0) -> Iterator[float]:
    """Yield pauses in seconds that double from `first_seconds` to `max_seconds`, each with jitter."""
    pause = first_seconds
    while True:
        yield pause * random.uniform(0.5, 1)
        pause = min(pause * 2, max_seconds)
