"""A backup that is taken under load restores every sample that was acknowledged before it started."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

from tests.stack import FIXTURE, Stack, eventually

OPERATING = Path("docs/operating.md").read_text()
SECTION = OPERATING[OPERATING.index("## Back up, restore and verify\n") : OPERATING.index("## Upgrade\n")]
BACK_UP, RESTORE, VERIFY = re.findall(r"^```sh\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
VARIABLES = BACK_UP.splitlines()[0]
MIN_SAMPLES = 50


def run(stack: Stack, folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run commands of docs/operating.md in a folder, for the data and the ports of a stack."""
    script = script.replace(".venv/bin/python", sys.executable).replace(".dropzone/", f"{stack.data_file.parent}/")
    script = script.replace(":8080", f":{stack.firestore_port}").replace("make run\n", "")
    command, environment = ["bash", "-ec", script], os.environ | {"PYTHONPATH": str(Path.cwd())}
    ran = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran


def test_a_backup_under_load_restores_every_acknowledged_sample(own_stack: Stack, tmp_path: Path) -> None:
    """The commands are those of docs/operating.md. The first ones run while samples are submitted."""
    stack = own_stack
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
    backed_up = run(stack, tmp_path, BACK_UP)
    stop.set()
    for thread in threads:
        thread.join()
    stack.stop()

    run(stack, tmp_path, f"{VARIABLES}\n{RESTORE}")
    stack.start()

    for sample_id in before:
        assert stack.wait_for(sample_id)["result"]["mean"] == 0.9985282517566032
    verified = run(stack, tmp_path, f"{VARIABLES}\n{VERIFY}")
    exported = (tmp_path / "documents.jsonl").read_text()
    assert (backed_up.stdout, verified.stdout) == ("", "")
    assert int(verified.stderr.split()[0]) >= len(before)
    assert verified.stderr.endswith("; 0 problems\n")
    assert [sample_id for sample_id in before if sample_id not in exported] == []
