"""Runs one attack against a fresh stack, beside another tenant."""

import asyncio
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path

from tests.attack.bystander import Experience
from tests.attack.monitor import Monitor
from tests.attack.outcome import MAX_MEMORY_GROWTH, PATIENCE_SECONDS, WORK_PATIENCE_SECONDS, Outcome
from tests.attack.registry import Attack
from tests.attack.target import AUDIENCE, NDJSON, SAMPLE, Harm, Target
from tests.certificates import certificate
from tests.ports import free_port
from tests.stack import SUBMIT, Stack

_WARM_UP_REQUESTS = 200
_WARM_UP_LINES = 5_000
_QUERY = (
    "{ __schema { types { name fields { name } } } results(first: 500) { edges { node { id histogram { counts } } } } }"
)
_IDLE_PROCESSORS = 0.1
_MAX_ATTACK_SECONDS = 60.0
_BYSTANDER_LEAD_SECONDS = 1.0


def run(attack: Attack, seconds: float) -> Outcome:
    """Run an attack on a stack of its own, and return what it achieved."""
    provider_port = free_port()
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="dropzone-attack-")))
        stack = opened.enter_context(Stack(folder, **_settings(attack, provider_port, folder)))
        calm_submit_seconds = _warm_up(stack)
        target = Target(
            stack.api_port,
            stack.function_port,
            stack.firestore_port,
            stack.new_key("attacker"),
            stack.new_key("attacker", "submit,read,admin"),
            seconds,
            provider_port,
        )
        with Monitor(stack.pid) as monitor:
            before = monitor.memory()
            bystander = _start_bystander(stack)
            time.sleep(_BYSTANDER_LEAD_SECONDS)
            harms = _attack(attack, target)
            ended_at = time.monotonic()
            experience = _stop_bystander(bystander)
            idle_after = _await_idle(monitor, ended_at)
            _await_memory(monitor, before, ended_at)
            after = monitor.memory()
        memory = {role: (size, monitor.peaks[role], after.get(role, 0.0)) for role, size in before.items()}
        if "INTERNAL" in stack.log or "Traceback" in stack.log:
            harms.append("the log has an unexpected error: " + _excerpt(stack.log))
        return Outcome(
            attack.name,
            attack.is_valid_work,
            attack.stores_samples,
            experience,
            memory,
            idle_after,
            monitor.ended(),
            harms,
            calm_submit_seconds,
        )


def _settings(attack: Attack, provider_port: int, folder: Path) -> dict[str, str]:
    """Return the settings of the stack that an attack needs."""
    if attack.has_provider:
        return {
            "DROPZONE_PUBLIC_URL": AUDIENCE,
            "DROPZONE_OIDC_ISSUERS": f"http://127.0.0.1:{provider_port}",
            "DROPZONE_OIDC_CLIENT_ID": "dropzone",
        }
    if attack.has_tls:
        files = certificate(folder)
        return files | {"SSL_CERT_FILE": files["DROPZONE_TLS_CERTIFICATE_FILE"]}
    return {}


def _warm_up(stack: Stack) -> float:
    """Use each part, so that memory before the attack is that of a stack in use. Return the mean time of a submit."""
    lines = (SAMPLE + b"\n") * _WARM_UP_LINES
    stack.post_sample(lines, content_type=NDJSON)
    started = time.monotonic()
    for _ in range(_WARM_UP_REQUESTS):
        stack.submit({"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2]})
    submit_seconds = (time.monotonic() - started) / _WARM_UP_REQUESTS
    stack.wait_for(stack.submit_fixture()["id"])  # the results of all other samples come before
    stack.get("/healthz")
    stack.get("/metrics")
    stack.post_graphql(_QUERY)
    stack.post_graphql(SUBMIT, {"sample": {"time_stamp": "2019-05-01T06:00:00Z", "data": [0.5] * 500_000}})
    return submit_seconds


def _start_bystander(stack: Stack) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.attack.bystander", stack.url, stack.new_key("bystander")]
    process = subprocess.Popen(command, env=stack.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()  # its stream is open
    return process


def _stop_bystander(process: "subprocess.Popen[str]") -> Experience:
    output, _ = process.communicate()
    return Experience(**json.loads(output))


def _attack(attack: Attack, target: Target) -> list[str]:
    """Run the attack in a process of its own. It is killed if it does not end."""
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_run_attack, args=(attack.name, target, sending))
    process.start()
    process.join(_MAX_ATTACK_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
    return [receiving.recv()] if receiving.poll() else []


def _run_attack(name: str, target: Target, sending: Connection) -> None:
    from tests.attack.attacks import ATTACKS

    try:
        asyncio.run(ATTACKS[name].run(target))
    except Harm as harm:
        sending.send(str(harm))
    except Exception as error:  # noqa: BLE001 - an attack that fails has proven nothing
        sending.send(f"the attack itself failed: {error!r}")


def _await_idle(monitor: Monitor, since: float) -> dict[str, float | None]:
    """Wait until no process works. Return how long after `since` each process was idle, or None if it never was."""
    idle_after: dict[str, float | None] = dict.fromkeys(monitor.memory())
    while time.monotonic() < since + WORK_PATIENCE_SECONDS and None in idle_after.values():
        for role, processors in monitor.busy(0.5).items():
            if idle_after[role] is None and processors < _IDLE_PROCESSORS:
                idle_after[role] = time.monotonic() - since
    return idle_after


def _await_memory(monitor: Monitor, before: dict[str, float], since: float) -> None:
    """Wait until memory is back near its start. The patience counts from the end of the attack."""
    while time.monotonic() < since + PATIENCE_SECONDS:
        now = monitor.memory()
        if all(size <= before.get(role, size) * MAX_MEMORY_GROWTH for role, size in now.items()):
            return
        time.sleep(0.5)


def _excerpt(log: str) -> str:
    position = min(at for at in (log.find("INTERNAL"), log.find("Traceback")) if at >= 0)
    return " ".join(log[position : position + 1_500].split())
