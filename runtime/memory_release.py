"""Garbage collection, and the release of memory to the operating system.

Requests and events leave almost no reference cycles, so reference counting frees their memory. Some things remain:
- Libraries leave some cycles, for example in errors and closed connections.
- The allocator of the C library keeps free memory. It keeps more if threads have heaps of their own, so each process
  runs with `MALLOC_ARENA_MAX=1`.
- Python's own allocator gives memory back in pieces of 1 MiB. A single object keeps such a piece in use. Python keeps
  the names of up to 4,096 attributes that were looked up last. graphql-core creates such names while it validates a
  document. asyncio keeps 255 iterators of futures. With jemalloc or mimalloc, a single object keeps only a few KiB.
- SQLite caches pages of the data file.

A collection of the young generations takes a few milliseconds. A full collection visits all objects that were created
after the start. With 10,000 subscriptions it takes 200 ms, so it must run rarely. It runs only if the process uses more
memory than after its start. The process must also be idle, or use more memory than after the last collection.
"""

import asyncio
import ctypes
import gc
import logging
import sys
import time
from collections.abc import Awaitable, Callable

import psutil

_CHECK_SECONDS = 10.0
_TOLERANCE = 1.1
"""The process gives no memory back while it uses less than this multiple of its memory at the start."""

_GROWTH = 1.25
"""A full collection may run if the process uses more than this multiple of its memory after the last one."""

_MIN_PAUSE_RATIO = 100
"""The pause between two full collections is at least this multiple of the CPU time of the first one."""

_IDLE_SHARE = 0.05
"""A process that uses a smaller share of one processor is idle."""

_MIN_WORK_SECONDS = 0.1
"""An idle process collects garbage only after it has used this CPU time since the last collection."""

_MAX_FUTURE_ITERATORS = 255
"""The number of iterators of awaited futures that asyncio keeps: `FI_FREELIST_MAXLEN` of Python."""

logger = logging.getLogger(__name__)


def configure(new_objects: int) -> None:
    """Exclude all existing objects from garbage collection, and set the thresholds of the collection.

    A collection of the youngest generation runs after `new_objects` more allocations than releases.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(new_objects, 10, 1_000_000)


async def release_memory(
    release_caches: Callable[[], Awaitable[None]] | None = None, seconds: float = _CHECK_SECONDS
) -> None:
    """Give memory back every few `seconds`, until the task is cancelled.

    `release_caches` frees caches that can be filled again. It is called when the process is idle.
    """
    process = psutil.Process()
    trim = _malloc_trim()
    at_start = after_collection = process.memory_info().rss
    next_collection = 0.0
    checked_at_work = collected_at_work = released_at_work = time.process_time()
    while True:
        await asyncio.sleep(seconds)
        work, memory = time.process_time(), process.memory_info().rss
        is_idle = work - checked_at_work < seconds * _IDLE_SHARE
        checked_at_work = work
        if memory < at_start * _TOLERANCE:
            continue
        releases_caches = is_idle and work - released_at_work > _MIN_WORK_SECONDS
        if releases_caches and release_caches is not None:
            try:
                await release_caches()
            except Exception:
                logger.exception("cannot free the caches; retrying when the process is idle again")
        has_worked = work - collected_at_work > _MIN_WORK_SECONDS
        must_collect = memory > after_collection * _GROWTH or (is_idle and has_worked)
        if must_collect and time.monotonic() >= next_collection:
            started_at = time.thread_time()  # wall-clock time would include other processes on a busy machine
            gc.collect()
            next_collection = time.monotonic() + (time.thread_time() - started_at) * _MIN_PAUSE_RATIO
            collected_at_work = time.process_time()
            await _trim(trim)
            after_collection = process.memory_info().rss
        else:
            await _trim(trim)
        if releases_caches:
            released_at_work = time.process_time()


async def _trim(trim: Callable[[int], int]) -> None:
    _forget_attribute_names()
    _replace_future_iterators()
    await asyncio.to_thread(trim, 0)


def _forget_attribute_names() -> None:
    """Empty Python's cache of the attributes of types. Later look-ups fill the cache again."""
    if sys.version_info >= (3, 13):
        sys._clear_internal_caches()
    else:
        sys._clear_type_cache()


def _replace_future_iterators() -> None:
    """Replace the iterators that asyncio keeps for reuse by new iterators, which are close together in memory.

    The first items of the list are the iterators that asyncio has kept. A list releases its last items first. asyncio
    therefore keeps the new iterators, and frees the earlier ones.
    """
    future = asyncio.get_running_loop().create_future()
    iterators = [iter(future) for _ in range(2 * _MAX_FUTURE_ITERATORS)]
    iterators.clear()


def _malloc_trim() -> Callable[[int], int]:
    """Return `malloc_trim` of glibc. On other systems, return a function that does nothing."""
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (AttributeError, OSError):
        return int
