"""Elapsed time that includes the time in which the machine is suspended."""

import time

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""On Linux, `time.monotonic` stops while the machine is suspended, and CLOCK_BOOTTIME does not.

On macOS, CLOCK_MONOTONIC does not stop.
"""


def elapsed() -> int:
    """Return the microseconds since a fixed moment. Steps of the wall-clock time have no effect."""
    return time.clock_gettime_ns(_CLOCK) // 1000
