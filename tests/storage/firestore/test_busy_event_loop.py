"""A busy event loop processes all completed operations of gRPC in one iteration."""

import json
import os
import statistics
import subprocess
import sys

import pytest

from tests.stack import Stack
from tests.storage.firestore.busy_event_loop import READS


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_write_takes_few_iterations_beside_many_reads(stack: Stack, loop: str) -> None:
    """Otherwise, it would wait until the operations of all other calls have been processed, one per iteration."""
    process = subprocess.run(
        [sys.executable, "-m", "tests.storage.firestore.busy_event_loop", loop],
        env=os.environ | {"FIRESTORE_EMULATOR_HOST": f"127.0.0.1:{stack.firestore_port}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert statistics.median(json.loads(process.stdout)) < READS
