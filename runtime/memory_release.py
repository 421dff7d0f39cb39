"""Garbage collection, and memory that the process gives back to the operating system.

Requests and events leave almost no reference cycles, so reference counting frees their memory. Two things remain.
Libraries leave some cycles, for example in errors and closed connections. And the allocator of the C library keeps free
memory, in particular between the memory that several threads use.

A collection of the young generations takes a few milliseconds. A full collection visits all objects that were created
after the start. With 10,000 subscriptions it takes 200 ms. It therefore runs rarely: only if the process uses more
memory than after its start, and has grown since the last collection or is idle.
"""

import asyncio
import ctypes
import gc
import time
from collections.abc import Callable

import psutil

_CHECK_SECONDS = 10.0
_TOLERANCE = 1.1
"""Memory in relation to that at the start, up to which nothing is given back."""

_GROWTH = 1.25
"""Memory in relation to that after the last full collection, above which the next one may run."""

_MIN_PAUSE_RATIO = 100
"""The pause between two full collections is at least this multiple of their duration."""

_IDLE_SHARE = 0.05
"""A process that uses less of one processor is idle."""

_MIN_WORK_SECONDS = 0.1
"""An idle process collects garbage only after this processor time of work."""


def configure(new_objects: int) -> None:
    """Exclude all objects that exist now from garbage collection, and set its thresholds.

    A collection of the youngest generation runs after `new_objects` more allocations than releases.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(new_objects, 10, 1_000_000)


async def release_memory(seconds: float = _CHECK_SECONDS) -> None:
    """Give memory back every few `seconds`, until the task is cancelled."""
    process = psutil.Process()
    trim = _malloc_trim()
    at_start = after_collection = process.memory_info().rss
    next_collection = 0.0
    checked_at_work = collected_at_work = time.process_time()
    while True:
        await asyncio.sleep(seconds)
        work, memory = time.process_time(), process.memory_info().rss
        is_idle = work - checked_at_work < seconds * _IDLE_SHARE
        checked_at_work = work
        if memory < at_start * _TOLERANCE:
            continue
        has_worked = work - collected_at_work > _MIN_WORK_SECONDS
        started_at = time.monotonic()
        must_collect = memory > after_collection * _GROWTH or (is_idle and has_worked)
        if must_collect and started_at >= next_collection:
            gc.collect()
            ended_at = time.monotonic()
            next_collection = ended_at + (ended_at - started_at) * _MIN_PAUSE_RATIO
            collected_at_work = time.process_time()
            await asyncio.to_thread(trim, 0)
            after_collection = process.memory_info().rss
        else:
            await asyncio.to_thread(trim, 0)


def _malloc_trim() -> Callable[[int], int]:
    """Return `malloc_trim` of glibc. On other systems, return a function that does nothing."""
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (AttributeError, OSError):
        return int
