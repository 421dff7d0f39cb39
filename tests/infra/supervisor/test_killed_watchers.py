"""The supervisor, its watchdog or both are killed: no process starts twice, and none outlives them."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.infra.supervisor.run import ROOT, Run, is_running, until

Start = Callable[..., Run]

# Prints its process id, and ignores SIGTERM.
STUBBORN = """
import os, signal, threading, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("stubborn runs as", os.getpid(), flush=True)
while True:
    time.sleep(1)
"""


@pytest.fixture
def guarded(tmp_path: Path) -> str:
    """A stack file of one guarded process that ignores SIGTERM."""
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    return f"""
data_setting = "data"
[settings]
data = "{tmp_path}/data"
[[processes]]
name = "stubborn"
command = ["{{python}}", "-m", "infra.embedded.guarded", "-m", "stubborn"]
environment = {{ PYTHONPATH = "{tmp_path}" }}
"""


def watchdog(supervisor: int) -> int:
    """Wait until the watchdog of a supervisor runs; return its process id."""
    found: list[int] = []

    def is_found() -> bool:
        listed = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,ppid=,command="], check=True, capture_output=True)
        for line in listed.stdout.decode().splitlines():
            pid, parent, command = line.split(maxsplit=2)
            if parent == str(supervisor) and "watchdog.py" in command:
                found.append(int(pid))
        return bool(found)

    until(is_found, "the watchdog does not run")
    return found[-1]


def test_a_killed_watchdog_is_replaced(start: Start, two_servers: str) -> None:
    """The supervisor took the broken pipe for a process that cannot be started, and started ten of them."""
    run = start(two_servers)
    run.until("everything is ready")
    killed = watchdog(run.process.pid)

    os.kill(killed, signal.SIGKILL)
    os.kill(run.pid("first"), signal.SIGKILL)  # its end and its restart are told to the watchdog
    run.until("the watchdog has stopped; starting a new one")
    run.until("first is ready again")
    restarted = run.pid("first")

    assert watchdog(run.process.pid) != killed
    assert run.text.count("first runs as") == 2
    assert "cannot be started" not in run.text
    assert run.stop() == 0
    assert not is_running(restarted)


def test_the_new_watchdog_ends_all_processes_of_a_killed_supervisor(start: Start, two_servers: str) -> None:
    """It knows those that were started before it."""
    run = start(two_servers)
    run.until("everything is ready")
    children = [run.pid("first"), run.pid("second")]
    os.kill(watchdog(run.process.pid), signal.SIGKILL)
    run.until("the watchdog has stopped; starting a new one")

    run.process.kill()

    until(lambda: not any(map(is_running, children)), "processes outlived the supervisor")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_guarded_processes_end_without_supervisor_and_watchdog(start: Start, guarded: str, number: int) -> None:
    """The process gets SIGTERM, then SIGKILL. The next stack waits for its end and then starts."""
    run = start(guarded)
    run.until("everything is ready")
    child, watcher = run.pid("stubborn"), watchdog(run.process.pid)

    os.kill(watcher, number)
    run.process.kill()
    try:
        until(lambda: not is_running(child), "the process outlived the supervisor")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(watcher, signal.SIGKILL)
    again = start(guarded)

    again.until("everything is ready")


@pytest.mark.parametrize("closed", ["<&- 2>&-", ">&-", "<&- >&- 2>&-"])
def test_the_watchdog_holds_the_lock_of_a_stack_with_closed_streams(
    start: Start, two_servers: str, tmp_path: Path, closed: str
) -> None:
    """The lock had the number of the closed stream. Without standard output, the supervisor ended with a traceback."""
    start(two_servers).stop(signal.SIGKILL)
    command = f"exec {sys.executable} -m infra.embedded --stack {tmp_path}/stack.toml {closed}"
    with subprocess.Popen(["/bin/sh", "-c", command], cwd=ROOT) as supervisor:
        watcher = watchdog(supervisor.pid)
        os.kill(watcher, signal.SIGSTOP)
        supervisor.kill()

    try:
        with (tmp_path / "data/watchdog.lock").open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.kill(watcher, signal.SIGCONT)


def test_a_guarded_process_gets_the_arguments_of_its_module(tmp_path: Path, start: Start) -> None:
    """It runs as `python -m` runs it, without the variable of the guard."""
    (tmp_path / "shown.py").write_text(
        'import os, sys\nprint(__name__, sys.argv[1:], "SUPERVISOR_PIPE" in os.environ)\nraise SystemExit(7)\n'
    )
    run = start(
        '[[processes]]\nname = "shown"\n'
        'command = ["{python}", "-m", "infra.embedded.guarded", "-m", "shown", "-m", "x"]\n'
        f'environment = {{ PYTHONPATH = "{tmp_path}" }}\nonce = true\n'
    )

    assert run.wait() == 1

    assert "__main__ ['-m', 'x'] False" in run.text
    assert "shown exited with code 7" in run.text
