"""A backup that is taken under load restores every sample that was acknowledged before it started."""

import subprocess
import sys
import threading
from pathlib import Path

from tests.stack import FIXTURE, Stack, eventually

ARCHIVE = (sys.executable, "-m", "infra.embedded.firestore.archive")
MIN_SAMPLES = 50


def test_a_backup_under_load_restores_every_acknowledged_sample(own_stack: Stack, tmp_path: Path) -> None:
    """The commands of docs/operating.md."""
    stack, copy = own_stack, tmp_path / "copy.sqlite"
    acknowledged: list[str] = []
    stop = threading.Event()

    def submit() -> None:
        while not stop.is_set():
            acknowledged.append(stack.post_sample(FIXTURE.read_bytes()).json()["id"])

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(acknowledged) >= MIN_SAMPLES)
    before = list(acknowledged)
    subprocess.run([*ARCHIVE, "backup", "--data", stack.data_file, "--output", copy], check=True)
    stop.set()
    for thread in threads:
        thread.join()
    stack.stop()

    subprocess.run([*ARCHIVE, "restore", copy, "--data", stack.data_file], check=True)
    stack.start()

    for sample_id in before:
        assert stack.wait_for(sample_id)["result"]["mean"] == 0.9985282517566032
    checked = subprocess.run([*ARCHIVE, "check", "--data", stack.data_file], check=False, stdout=subprocess.PIPE)
    assert (checked.returncode, checked.stdout) == (0, b"")
    environment = stack.environment | stack.firestore_environment
    command = [sys.executable, "-m", "triggers.verify", "--recompute-every", "10"]
    verified = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert (verified.returncode, verified.stdout) == (0, ""), verified.stderr
    assert int(verified.stderr.split()[0]) >= len(before)
