"""The stack as the supervisor runs it: processes that die or hang, strangers on their ports, and damaged files."""

import contextlib
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from graphql_api.auth.secret_text import digest
from infra.embedded import jemalloc
from infra.embedded.stack_file import reader
from tests.infra.supervisor.run import is_running
from tests.stack import Stack, eventually


@pytest.fixture(scope="module")
def killed_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose processes are killed. Each test leaves it running."""
    with Stack(tmp_path_factory.mktemp("killed")) as started:
        yield started


@pytest.mark.parametrize("name", ["firestore", "function", "api"])
def test_no_stranger_takes_the_port_of_a_process_that_restarts(killed_stack: Stack, name: str) -> None:
    """A server on the port of the function acknowledged its events, and the log said that the function was ready."""
    stack = killed_stack
    port, pid = {
        "firestore": (stack.firestore_port, stack.firestore_pid()),
        "function": (stack.function_port, stack.function_pid()),
        "api": (stack.api_port, stack.api_pid()),
    }[name]
    attempts, restarts = 0, stack.log.count(f"{name} is ready again")

    def is_ready_again() -> bool:
        nonlocal attempts
        for _ in range(100):
            with socket.socket() as stranger:
                stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                with pytest.raises(OSError, match="in use"):
                    stranger.bind(("127.0.0.1", port))
            attempts += 1
        return stack.log.count(f"{name} is ready again") > restarts

    os.kill(pid, signal.SIGKILL)
    eventually(is_ready_again, lambda: stack.log)

    assert attempts > 0
    assert stack.wait_for(stack.submit_fixture()["id"])["result"]["count"] == 100


def test_a_function_that_hangs_is_replaced(killed_stack: Stack) -> None:
    """Its samples are computed by the restarted function. They stayed PENDING forever."""
    hanging = killed_stack.function_pid()
    os.kill(hanging, signal.SIGSTOP)

    sample = killed_stack.submit_fixture()["id"]

    assert killed_stack.wait_for(sample)["result"]["count"] == 100
    assert killed_stack.function_pid() != hanging
    assert "function hangs and is killed: no response from http://127.0.0.1:" in killed_stack.log


def test_a_deleted_scratch_folder_is_replaced(killed_stack: Stack) -> None:
    """At the end of a login, systemd can delete the files of a user in /dev/shm. Firestore could not start again."""
    stack = killed_stack
    scratch = reader.read(Path("infra/embedded/stack.toml"), stack.environment).scratch_folder
    assert scratch is not None
    earlier = stack.firestore_pid()

    shutil.rmtree(scratch)
    eventually(lambda: scratch.exists() and stack.pids_of("infra.embedded.firestore") != [earlier], lambda: stack.log)
    eventually(stack.is_ready, lambda: stack.log)

    assert stack.wait_for(stack.submit_fixture()["id"])["result"]["count"] == 100


def test_no_process_outlives_a_killed_supervisor_and_watchdog(killed_stack: Stack) -> None:
    """The next start needs the ports and the data folder."""
    stack = killed_stack
    sample = stack.submit_fixture()["id"]
    processes = [stack.firestore_pid(), stack.function_pid(), stack.api_pid()]

    os.kill(stack.pid_of("watchdog.py"), signal.SIGKILL)
    stack.kill_supervisor()
    eventually(lambda: not any(map(is_running, processes)), lambda: stack.log)
    stack.start()

    assert stack.wait_for(sample)["result"]["count"] == 100


@pytest.mark.parametrize("damage", ["empty", "revoked", "forgotten"])
def test_the_key_of_the_stack_heals_at_the_next_start(killed_stack: Stack, damage: str) -> None:
    """A crash can leave the file empty, an operator can revoke the key, and a new database does not know it."""
    stack = killed_stack
    eventually(stack.is_ready)
    before, starts = stack.key, stack.log.count("everything is ready")
    if damage == "revoked":
        stack.keys("revoke", "--digest", digest(before), "--yes")
    elif damage == "forgotten":
        stack.firestore().collection("api_keys").document(digest(before)).delete()
    stack.stop()
    if damage == "empty":
        stack.key_file.write_bytes(b"")

    stack.start()
    eventually(lambda: stack.log.count("everything is ready") == starts + 1, lambda: stack.log)

    assert (stack.key == before) == (damage == "forgotten")
    assert stack.submit_fixture()["state"] == "PENDING"


def test_no_metrics_are_mapped_on_the_disk_of_the_data(stack: Stack) -> None:
    """If that disk is full, writing to a mapped file ends the process with SIGBUS."""
    data = stack.key_file.parent

    with contextlib.suppress(FileNotFoundError):  # macOS
        mapped = Path(f"/proc/{stack.api_pid()}/maps").read_text()
        assert str(data) not in mapped
    assert not (data / "metrics").exists()


@pytest.mark.skipif(
    not jemalloc.environment_variables(os.environ), reason="jemalloc is a library of the system, and not installed"
)
@pytest.mark.parametrize("module", ["graphql_api", "triggers", "infra.embedded.firestore"])
def test_the_processes_use_jemalloc_if_it_is_installed(stack: Stack, module: str) -> None:
    processes = [each for each in psutil.Process(stack.pid).children(recursive=True) if module in each.cmdline()]

    assert processes
    assert all("libjemalloc" in Path(f"/proc/{each.pid}/maps").read_text() for each in processes)


def test_several_processes_share_their_metrics_in_the_scratch_folder() -> None:
    """It is in memory where the system allows it. A single process needs no folder."""
    file = Path("infra/embedded/stack.toml")
    variable = "PROMETHEUS_MULTIPROC_DIR"

    one, two = (reader.read(file, {"DROPZONE_API_PROCESSES": count}) for count in "12")

    assert [process.environment.get(variable) for process in one.processes if process.name == "api"] == [None]
    assert [process.environment.get(variable) for process in two.processes if process.name == "api"] == [
        str(two.scratch_folder)
    ]
