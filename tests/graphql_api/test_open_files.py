"""The API needs enough open files for its connections."""

import os
import subprocess
import sys

import pytest

from graphql_api.__main__ import max_waiting_connections


def test_the_api_says_if_it_may_open_too_few_files() -> None:
    """It exits at once, and names what to change."""
    command = f"ulimit -n 300; exec {sys.executable} -m graphql_api"

    environment = os.environ | {"FIRESTORE_EMULATOR_HOST": "127.0.0.1:8080"}
    process = subprocess.run(
        ["sh", "-c", command], env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    error = "error: the process may open only 300 files; raise `ulimit -n` above 512"
    assert (process.returncode, process.stderr.strip()) == (1, error)


@pytest.mark.parametrize(
    ("max_connections", "max_open_files", "expected"),
    [(4_000, 13_824, 4_000), (4_000, 10_240, 728), (3_584, 4_096, 128), (488, 1_000, 128)],
)
def test_connections_that_wait_leave_files_for_firestore(
    max_connections: int, max_open_files: int, expected: int
) -> None:
    """5,512 files are reserved, 512 of them for what is not a connection. 128 connections can always wait."""
    assert max_waiting_connections(max_connections, max_open_files, {}) == expected


def test_processes_that_share_a_port_leave_connections_to_each_other() -> None:
    """Otherwise, the first of them would accept all connections that wait in the kernel."""
    assert max_waiting_connections(4_000, 13_824, {"DROPZONE_API_PROCESSES": "1"}) == 4_000
    assert max_waiting_connections(4_000, 13_824, {"DROPZONE_API_PROCESSES": "2"}) == 32


@pytest.mark.parametrize("count", ["two", "٢"])
def test_an_invalid_number_of_processes_is_named(count: str) -> None:
    """The supervisor checks the number too, but other deployments start the API without the supervisor."""
    with pytest.raises(ValueError, match=f"DROPZONE_API_PROCESSES must be a number, got {count}"):
        max_waiting_connections(4_000, 13_824, {"DROPZONE_API_PROCESSES": count})
