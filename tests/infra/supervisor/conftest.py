"""What the tests of the supervisor share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.infra.supervisor.run import Run
from tests.ports import free_port


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Start the supervisor with a stack file; it is ended with the test."""
    runs: list[Run] = []

    def start(stack: str, *arguments: str, **environment: str) -> Run:
        runs.append(Run(tmp_path, stack, *arguments, **environment))
        return runs[-1]

    yield start
    for run in runs:
        run.close()


@pytest.fixture
def two_servers(tmp_path: Path) -> str:
    """Two servers, the second after the first."""
    return f"""
variables = "TEST_"
folder = "{{data}}"
start_seconds = 10.0
[settings]
host = "127.0.0.1"
first_port = {free_port()}
second_port = {free_port()}
data = "{tmp_path}/data"
slow = "0"
[[processes]]
name = "first"
command = ["{{python}}", "{tmp_path}/server.py", "first", "{{first_port}}", "0"]
listens = "first_port"
ready = "http://{{host}}:{{first_port}}/healthz"
[[processes]]
name = "second"
command = ["{{python}}", "{tmp_path}/server.py", "second", "{{second_port}}", "{{slow}}"]
after = ["first"]
listens = "second_port"
host = "{{host}}"
ready = "tcp://{{host}}:{{second_port}}"
"""
