"""Writes to Firestore beside many reads, in a process with a busy event loop. Prints the iterations of each write.

A process of its own has no other gRPC channel, like the API and the function.
"""

import asyncio
import json
import sys
import time

import uvloop

from storage.firestore.client import Firestore

READS = 64
WRITES = 5
_BUSY_SECONDS = 0.002


async def main() -> None:
    """Use the Firestore that the environment selects."""
    firestore = Firestore.connect(timeout_seconds=30)
    loop = asyncio.get_running_loop()
    iterations = 0

    def work() -> None:
        nonlocal iterations
        iterations += 1
        ends_at = time.perf_counter() + _BUSY_SECONDS
        while time.perf_counter() < ends_at:
            pass
        loop.call_soon(work)

    async def read() -> None:
        while True:
            await firestore.batch_get(["submitters/other/samples/missing"])

    reads = [asyncio.create_task(read()) for _ in range(READS)]
    loop.call_soon(work)
    used = []
    for _ in range(WRITES):
        before = iterations
        await firestore.check_writes(30)
        used.append(iterations - before)
    for task in reads:
        task.cancel()
    print(json.dumps(used))


if __name__ == "__main__":
    LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    with asyncio.Runner(loop_factory=LOOPS[sys.argv[1]]) as runner:
        runner.run(main())
