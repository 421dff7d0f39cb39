"""Garbage collection, and memory that the process gives back to the operating system.

Operations leave almost no reference cycles, so reference counting frees their memory. Two things remain. Libraries
leave some cycles, for example in errors and closed connections. And the allocator of the C library keeps free memory.

A collection of the young generations visits at most `_YOUNG_OBJECTS` objects, which takes a few milliseconds. A full
collection visits all objects that were created after the start. With 2,000 subscriptions it takes about 20 ms, so it
runs rarely, and only if the process uses more memory than after its start.
"""

import asyncio
import ctypes
import gc
import time
from collections.abc import Callable

import psutil

_YOUNG_OBJECTS = 50_000
_NEW_OBJECTS = 5_000
"""New objects between two collections of the youngest generation."""

_CHECK_SECONDS = 10.0
_TOLERANCE = 1.1
_MIN_PAUSE_RATIO = 100
"""The pause between two full collections is at least this multiple of their duration."""


def configure() -> None:
    """Exclude all objects that exist now from garbage collection, and set its thresholds."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, _YOUNG_OBJECTS // _NEW_OBJECTS, 1_000_000)


async def release_memory(seconds: float = _CHECK_SECONDS) -> None:
    """Give memory back every few `seconds`, until the task is cancelled."""
    process = psutil.Process()
    trim = _malloc_trim()
    at_start = process.memory_info().rss
    next_collection = 0.0
    while True:
        await asyncio.sleep(seconds)
        if process.memory_info().rss < at_start * _TOLERANCE:
            continue
        started_at = time.monotonic()
        if started_at >= next_collection:
            gc.collect()
            ended_at = time.monotonic()
            next_collection = ended_at + (ended_at - started_at) * _MIN_PAUSE_RATIO
        await asyncio.to_thread(trim, 0)


def _malloc_trim() -> Callable[[int], int]:
    """Return `malloc_trim` of glibc. On other systems, return a function that does nothing."""
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (AttributeError, OSError):
        return int
