"""Garbage collection, and memory that the process gives back to the operating system.

Operations leave almost no reference cycles, so reference counting frees their memory. Two things remain. Libraries
leave some cycles, for example in errors and closed connections. And the allocator of the C library keeps free memory.

A collection of the young generations visits at most `_YOUNG_OBJECTS` objects, which takes a few milliseconds. A full
collection visits all objects that were created after the start. With 10,000 subscriptions it takes about 0.1 s, so it
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

_CHECK_SECONDS = 5.0
_MAX_FULL_SECONDS = 10.0
"""A full collection runs after this time, or earlier if the memory has grown by the tolerance."""

_TOLERANCE = 1.1
_MIN_PAUSE_RATIO = 50
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
    at_start = floor = process.memory_info().rss
    collected_at, duration = time.monotonic(), 0.0
    while True:
        await asyncio.sleep(seconds)
        resident = process.memory_info().rss
        if resident < at_start * _TOLERANCE:
            continue
        pause = time.monotonic() - collected_at
        has_grown = resident > floor * _TOLERANCE
        if pause > duration * _MIN_PAUSE_RATIO and (has_grown or pause > _MAX_FULL_SECONDS):
            started_at = time.monotonic()
            gc.collect()
            collected_at = time.monotonic()
            duration = collected_at - started_at
            floor = resident
        await asyncio.to_thread(trim, 0)
        floor = min(floor, process.memory_info().rss)


def _malloc_trim() -> Callable[[int], int]:
    """Return `malloc_trim` of glibc. On other systems, return a function that does nothing."""
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (AttributeError, OSError):
        return int
