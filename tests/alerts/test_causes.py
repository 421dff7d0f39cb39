"""Each alert fires while its cause lasts, and ends after it: `make alerts`.

A Prometheus server scrapes a running stack. Its rules are those of infra/prometheus/alerts.yaml, with shorter times.
The tests cause the faults, look at them with the commands of the runbook, and correct them as the runbook says.
"""

import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from storage.documents import document_paths
from tests.alerts.function import CRASH, FAULTS, FORGET, UNLUCKY
from tests.alerts.prometheus import Prometheus
from tests.stack import Stack, eventually, suspended
from tests.stack_files import stack_file

pytestmark = [
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can limit the files of a process"),
    pytest.mark.timeout(900),
]

ALERT_SECONDS = 600.0
DISK_MIB = 1024
STEADY_CLIENTS, STEADY_PAUSE_SECONDS = 4, 0.5
BALLAST_MIB, DOCUMENT_BYTES = 300, 900_000
SAMPLE = {"time_stamp": "2026-11-27T00:00:00Z", "data": [1, 2, 3]}
RESULT = "query ($id: ID!) { result(id: $id) { mean } }"
OPERATING = Path("docs/operating.md").read_text()


@dataclass(frozen=True)
class Machine:
    """A stack, the Prometheus that watches it, and its faults."""

    stack: Stack
    prometheus: Prometheus
    faults: Path
    folder: Path
    is_small_disk: bool

    def until_firing(self, *names: str) -> dict[str, dict[str, str]]:
        """Wait until all of these alerts fire at the same time; return the alerts that fire."""
        return self._until(lambda firing: set(names) <= firing.keys(), f"{names} do not fire")

    def until_silent(self, *names: str) -> None:
        """Wait until none of these alerts fires."""
        self._until(lambda firing: not set(names) & firing.keys(), f"{names} do not end")

    def _until(self, condition: Callable[[dict[str, Any]], bool], problem: str) -> dict[str, dict[str, str]]:
        deadline = time.monotonic() + ALERT_SECONDS
        while not condition(firing := self.prometheus.firing()):
            assert time.monotonic() < deadline, f"{problem}; firing: {sorted(firing)}\n{self.stack.log[-20_000:]}"
            time.sleep(1)
        return firing

    @contextlib.contextmanager
    def fault(self, name: str) -> Iterator[None]:
        """Keep a fault of the function."""
        (self.faults / name).touch()
        try:
            yield
        finally:
            (self.faults / name).unlink()

    def run(self, *sections: str) -> str:
        """Run the commands of sections of the runbook in one shell, after the general ones. Return their output."""
        blocks = [runbook_commands(section) for section in ("Runbook", *sections)]
        script = "".join(blocks).replace(".venv/bin/python", sys.executable)
        script = re.sub(r"^(?=.* discard 2041 )", "! ", script, flags=re.MULTILINE)  # the number of no dead letter here
        script = script.replace(".dropzone/firestore.sqlite", str(self.stack.data_file))
        script = script.replace(":8000", f":{self.stack.api_port}")
        environment = os.environ | {"DROPZONE_URL": self.stack.url, "DROPZONE_KEY": self.stack.key}
        ran = subprocess.run(["bash", "-ec", script], check=True, capture_output=True, text=True, env=environment)
        return ran.stdout


def runbook_commands(section: str) -> str:
    """Return the commands of a section of docs/operating.md, without those of its subsections."""
    found = re.search(rf"^##+ {section}\n(.*?)(?=^##)", OPERATING, re.MULTILINE | re.DOTALL)
    assert found is not None, section
    commands = re.findall(r"^```sh\n(.*?)^```", found[1], re.MULTILINE | re.DOTALL)
    assert commands, section
    return "".join(commands)


def submit_steadily(stack: Stack, stopping: threading.Event) -> None:
    """Submit samples until `stopping` is set. Errors are what the alerts count."""
    with httpx.Client(base_url=stack.url, headers={"x-api-key": stack.key}, timeout=30) as client:
        while not stopping.wait(STEADY_PAUSE_SECONDS):
            with contextlib.suppress(httpx.TransportError):
                client.post("/samples", json=SAMPLE)


def submit_together(stack: Stack, count: int, key: str) -> list[str]:
    """Submit samples in one request, so that their events are in flight at the same time. Return their ids."""
    lines = "\n".join([json.dumps(SAMPLE)] * count).encode()
    response = stack.post_sample(lines, x_api_key=key, content_type="application/x-ndjson")
    return [json.loads(line)["id"] for line in response.text.splitlines()]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A stack with constant load, on a small disk if this process may mount one, and its Prometheus."""
    folder = tmp_path_factory.mktemp("alerts")
    faults, disk = folder / "faults", folder / "disk"
    faults.mkdir()
    disk.mkdir()
    factory = "tests.alerts.function:create_app"
    file = stack_file(
        folder, factory, audit_delay_seconds=10, trigger="max_crashes = 1", schedules=("audit", "rollups")
    )
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(disk)]
    with contextlib.ExitStack() as exits:
        is_small_disk = subprocess.run(mount, capture_output=True, check=False).returncode == 0
        if is_small_disk:
            exits.callback(subprocess.run, ["umount", "--lazy", str(disk)], check=True)
        stack = Stack(disk, DROPZONE_WRITE_TIMEOUT_SECONDS="2", **{FAULTS: str(faults)})
        exits.push(stack)
        stack.start("--stack", str(file))
        prometheus = exits.enter_context(Prometheus(folder / "prometheus", f"127.0.0.1:{stack.api_port}"))
        stopping = threading.Event()
        threads = [threading.Thread(target=submit_steadily, args=(stack, stopping)) for _ in range(STEADY_CLIENTS)]
        for thread in threads:
            thread.start()
            exits.callback(thread.join)
        exits.callback(stopping.set)
        machine = Machine(stack, prometheus, faults, disk, is_small_disk)
        machine._until(lambda firing: not firing, "alerts fire without a cause")
        yield machine


def test_an_alert_fires_while_the_api_hangs(machine: Machine) -> None:
    """Prometheus cannot read its metrics."""
    with suspended(machine.stack.api_pid()):
        machine.until_firing("DropzoneDown")

    machine.until_silent("DropzoneDown")


def test_alerts_fire_while_the_function_hangs(machine: Machine) -> None:
    """Events wait. The command of the runbook says how many, and since when."""
    names = ("DropzoneProcessDown", "DropzoneResultsLate", "DropzoneResultsLateFast", "DropzoneResultsLateSlow")
    with suspended(machine.stack.pid_of("tests.alerts.function")):
        firing = machine.until_firing(*names)
        output = machine.run()

    assert firing["DropzoneProcessDown"]["process"] == "function"
    assert re.search(r"changes to deliver: [1-9]", output), output
    machine.until_silent(*names)


def test_alerts_fire_while_the_disk_refuses_writes(machine: Machine) -> None:
    """Submissions fail, and the audit cannot store how far it is. `/readyz` says why."""
    names = ("DropzoneNotWritable", "DropzoneSubmitErrorsFast", "DropzoneSubmitErrorsSlow", "DropzoneAuditLate")
    machine.stack.refuse_firestore_writes()

    machine.until_firing(*names)
    output = machine.run()
    machine.stack.accept_firestore_writes()

    assert "Firestore does not accept writes" in output
    assert "schedule audit: the call of" in machine.stack.log
    machine.until_silent(*names)


def test_an_alert_fires_if_the_function_acknowledges_events_without_a_result(machine: Machine) -> None:
    """The log names the samples. The mutation `recompute` computes them when the function works again."""
    stack, key = machine.stack, machine.stack.new_key(UNLUCKY, "submit,read,admin")
    with machine.fault(FORGET):
        submitted = {stack.submit(SAMPLE, key=key)["id"] for _ in range(3)}

        machine.until_firing("DropzoneAuditMissingSamples")
    logged = set(re.findall(r"[\w-]+", " ".join(re.findall(rf"audit: \d+ samples of {UNLUCKY} .*", stack.log))))
    assert submitted <= logged
    stack.graphql("mutation ($ids: [ID!]!) { recompute(ids: $ids) { id } }", {"ids": sorted(submitted)}, key=key)

    for sample_id in submitted:
        stack.wait_for(sample_id, key=key)
    machine.until_silent("DropzoneAuditMissingSamples")


def test_an_alert_fires_while_the_disk_is_almost_full(machine: Machine) -> None:
    """Space is freed, as the runbook says. Its command deletes a sample that is not needed."""
    if not machine.is_small_disk:
        pytest.skip("only root on Linux can mount a file system")
    unneeded = machine.stack.submit(SAMPLE | {"labels": {"site": "test"}})["id"]
    machine.stack.wait_for(unneeded)
    filler = machine.folder / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, int(shutil.disk_usage(machine.folder).free - 0.08 * DISK_MIB * 2**20))

    machine.until_firing("DropzoneDiskFull")
    machine.run("The disk refuses writes")
    filler.unlink()

    assert machine.stack.sample(unneeded) is None

    machine.until_silent("DropzoneDiskFull")


def test_an_alert_fires_while_a_long_read_holds_the_log(machine: Machine) -> None:
    """Another program has the data file open, and `lsof` names it. When it closes the file, the log starts again."""
    client = machine.stack.firestore()
    reader = sqlite3.connect(f"file:{machine.stack.data_file}?mode=ro", uri=True, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    for number in range(BALLAST_MIB * 2**20 // DOCUMENT_BYTES):
        client.document(f"ballast/{number % 10}").set({"data": os.urandom(DOCUMENT_BYTES)})

    machine.until_firing("DropzoneWalLarge")
    holders = machine.run("The WAL file is large") if shutil.which("lsof") else None
    reader.execute("COMMIT")
    reader.close()

    assert holders is None or re.search(rf"^\S+ +{os.getpid()} ", holders, re.MULTILINE)
    machine.until_silent("DropzoneWalLarge")


def test_an_alert_fires_while_a_stored_result_is_damaged(machine: Machine) -> None:
    """The log names it. When it is deleted, `recompute` computes the sample again."""
    stack = machine.stack
    sample_id = stack.submit(SAMPLE)["id"]
    stack.wait_for(sample_id)
    path = document_paths.result("local", sample_id)
    with contextlib.closing(sqlite3.connect(stack.data_file, timeout=60)) as connection, connection:
        connection.execute("UPDATE versions SET checksum = checksum + 1 WHERE instr(document, ?)", [path.encode()])
    (error,) = stack.post_graphql(RESULT, {"id": sample_id}).json()["errors"]
    assert error["extensions"]["code"] == "DATA_LOSS"

    machine.until_firing("DropzoneDataDamaged")
    assert f"{path} is damaged" in stack.log
    stack.firestore().document(path).delete()
    stack.graphql("mutation ($ids: [ID!]!) { recompute(ids: $ids) { id } }", {"ids": [sample_id]})

    stack.wait_for(sample_id)
    machine.until_silent("DropzoneDataDamaged")


def test_an_alert_fires_while_a_damaged_result_cannot_be_archived(machine: Machine) -> None:
    """The log names its submitter. When the result is deleted, the next run succeeds."""
    result = machine.stack.firestore().document(document_paths.result("damaged", "result"))
    result.set({"shard": 0, "archive_at": datetime.now(UTC), "status": "COMPUTED", "timestamp": "never"})

    machine.until_firing("DropzoneRollupsFail")
    assert re.search("schedule rollups: the call of .* damaged: internal error", machine.stack.log)
    result.delete()

    machine.until_silent("DropzoneRollupsFail")


def test_alerts_fire_if_events_crash_the_function(machine: Machine) -> None:
    """They become dead letters. When the function works again, the command of the runbook sends them again."""
    stack, key = machine.stack, machine.stack.new_key(UNLUCKY)
    with machine.fault(CRASH):
        samples = submit_together(stack, 3, key)

        machine.until_firing("DropzoneFunctionCrashes")
        assert "quarantined" in machine.run()
        machine.until_firing("DropzoneDeadLetters")
        for sample_id in samples:
            eventually(partial(is_given_up, stack, sample_id, key), lambda: stack.log)
    output = machine.run("Events were given up")

    [resent] = re.findall(r"^dead letters to send again: (\d+)$", output, re.MULTILINE)
    assert int(resent) >= len(samples)  # other events that were in flight alone during a crash are among them
    for sample_id in samples:
        stack.wait_for(sample_id, key=key)
    machine.until_silent("DropzoneDeadLetters", "DropzoneFunctionCrashes")


def is_given_up(stack: Stack, sample_id: str, key: str) -> bool:
    """Return whether a sample is FAILED because its event was given up."""
    sample = stack.sample(sample_id, key=key)
    return [problem["code"] for problem in sample["problems"] or []] == ["GIVEN_UP"]
