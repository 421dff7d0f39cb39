"""Fixtures for the tests of the supervisor."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.infra.supervisor.run import Run
from tests.ports import free_port


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """A function that starts the supervisor with a stack file. The supervisor ends with the test."""
    runs: list[Run] = []

    def start(stack: str, *arguments: str, is_patient: bool = False, **environment: str) -> Run:
        runs.append(Run(tmp_path, stack, *arguments, is_patient=is_patient, **environment))
        return runs[-1]

    yield start
    for run in runs:
        run.close()


@pytest.fixture
def two_servers(tmp_path: Path) -> str:
    """A stack file of two servers. The second starts after the first."""
    return f"""
environment_prefix = "TEST_"
data_setting = "data"
max_start_seconds = 60.0
[settings]
host = "127.0.0.1"
first_port = {free_port()}
second_port = {free_port()}
data = "{tmp_path}/data"
slow = "0"
[[processes]]
name = "first"
command = ["{{python}}", "{tmp_path}/server.py", "first", "{{first_port}}", "0"]
port_setting = "first_port"
ready = "http://{{host}}:{{first_port}}/healthz"
[[processes]]
name = "second"
command = ["{{python}}", "{tmp_path}/server.py", "second", "{{second_port}}", "{{slow}}"]
after = ["first"]
port_setting = "second_port"
host_setting = "host"
ready = "tcp://{{host}}:{{second_port}}"
"""
