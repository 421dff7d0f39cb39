"""The processes of both servers, each on a free port."""

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.ports import free_port

_START_TIMEOUT_SECONDS = 60.0


@contextlib.contextmanager
def emulator(folder: Path) -> Iterator[str]:
    """Run Google's emulator and yield its address."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    command = [sys.executable, "-m", "tests.google_emulator.firestore", str(port)]
    environment = os.environ | {"FIRESTORE_EMULATOR_HOST": address, "GOOGLE_CLOUD_PROJECT": "first-write"}
    with _running(command, folder / "emulator.log", r"Dev App Server is now running"):
        subprocess.run([sys.executable, "-m", "tests.google_emulator.first_write"], env=environment, check=True)
        yield address


@contextlib.contextmanager
def embedded(folder: Path) -> Iterator[str]:
    """Run the embedded Firestore and yield its address."""
    command = [sys.executable, "-m", "infra.embedded.firestore", "--port=0", f"--data={folder / 'firestore.sqlite'}"]
    with _running(command, folder / "embedded.log", r"FIRESTORE_EMULATOR_HOST=(\S+)") as ready:
        yield ready[1]


@contextlib.contextmanager
def _running(command: list[str], log: Path, ready: str) -> Iterator[re.Match[str]]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        while (found := re.search(ready, log.read_text())) is None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield found
    finally:
        process.kill()
        process.wait()
