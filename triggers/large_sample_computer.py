"""Computes large samples: each of them waits for its turn, and is computed in a thread.

A computation can lack memory, because others run at the same time. It is then attempted again, a limited number of
times.
"""

import asyncio
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from storage.documents import Header, Problem, ProblemCode, Result, Unavailable
from triggers import computation
from triggers.concurrency_limiter import MAX_RUNNING, ConcurrencyLimiter
from triggers.result_store import ResultStore

MAX_MEMORY_ERRORS = 3
"""After this number of attempts without enough memory, a large sample fails. Small samples do not need much memory."""

MAX_REMEMBERED_SAMPLES = 1_000

OUT_OF_MEMORY = Problem(
    "$",
    f"the function ran out of memory {MAX_MEMORY_ERRORS} times while it computed this sample; give the function more "
    "memory and recompute the sample, or split the sample",
    ProblemCode.OVER_BUDGET,
)


class LargeSampleComputer:
    """Computes large samples. Belongs to one event loop."""

    def __init__(self) -> None:
        self._limiter = ConcurrencyLimiter()
        self._threads = ThreadPoolExecutor(MAX_RUNNING, "large-samples")
        self._memory_errors: OrderedDict[str, int] = OrderedDict()
        """The number of attempts that lacked memory, by submitter and id of the sample."""

    async def compute(self, store: ResultStore, header: Header, update_time: datetime) -> Result:
        """Return the result of a sample. Raises `Unavailable` if it gets no turn, and `MemoryError`."""
        memory_bytes = 8 * header.count + header.byte_count  # the numbers and the text
        async with self._limiter.turn(header.submitter, f"{header.submitter}/{header.id}", memory_bytes):
            chunks = await store.read_chunks(header)
            try:
                computing = asyncio.get_running_loop().run_in_executor(
                    self._threads, computation.compute, header, update_time, chunks
                )
            except RuntimeError as error:
                raise Unavailable(f"no thread can start: {error}") from error
            return await computing

    def count_memory_error(self, submitter: str, sample_id: str) -> bool:
        """Count an attempt that lacked memory. Return whether it was the last attempt of the sample."""
        sample = f"{submitter}/{sample_id}"
        attempts = self._memory_errors.pop(sample, 0) + 1
        if attempts >= MAX_MEMORY_ERRORS:
            return True
        self._memory_errors[sample] = attempts
        if len(self._memory_errors) > MAX_REMEMBERED_SAMPLES:
            self._memory_errors.popitem(last=False)
        return False
