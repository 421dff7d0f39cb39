"""A busy event loop processes all completed operations of gRPC in one iteration."""

import asyncio
import time

import pytest

from storage.firestore.client import Firestore
from tests.stack import Stack

READS = 64
BUSY_SECONDS = 0.002
MAX_ITERATIONS = 100
"""A write takes 5 to 20 iterations. If each iteration processes one operation, it takes more than 200."""


async def test_a_write_takes_few_iterations_beside_many_reads(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, it would wait until the operations of all other calls have been processed, one per iteration."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{stack.firestore_port}")
    firestore = Firestore.connect(timeout_seconds=30)
    loop = asyncio.get_running_loop()
    iterations, is_busy = 0, True

    def work() -> None:
        nonlocal iterations
        iterations += 1
        ends_at = time.perf_counter() + BUSY_SECONDS
        while time.perf_counter() < ends_at:
            pass
        if is_busy:
            loop.call_soon(work)

    async def read() -> None:
        while True:
            await firestore.batch_get(["submitters/nobody/samples/missing"])

    reads = [asyncio.create_task(read()) for _ in range(READS)]
    loop.call_soon(work)
    try:
        used = []
        for _ in range(10):
            before = iterations
            await firestore.check_writes(30)
            used.append(iterations - before)
    finally:
        is_busy = False
        for task in reads:
            task.cancel()
        await asyncio.gather(*reads, return_exceptions=True)
        await firestore.close()

    assert sorted(used)[5] < MAX_ITERATIONS, used
