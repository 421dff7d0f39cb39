"""A process that cannot start says why in one line, and exits with 1."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SECRET = {"DROPZONE_EVENT_SECRET": "s" * 32}
COMMANDS = {
    "the API": (("graphql_api",), {}),
    "the function": (("triggers",), SECRET),
    "the audit": (("triggers.audit",), SECRET),
    "the rollups": (("triggers.rollups",), SECRET),
    "the verification": (("triggers.verify",), {}),
    "the keys command": (("graphql_api.auth.keys", "list"), {}),
    "the erasure": (("graphql_api.erasure", "--submitter", "station-7", "--yes"), {}),
}
"""Each process that connects to Firestore, with the settings that it needs."""


def run(name: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a process with these variables."""
    arguments, settings = COMMANDS[name]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("FIRESTORE_", "GOOGLE_"))}
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        env=environment | settings | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_a_process_without_a_firestore_says_what_to_set(name: str, tmp_path: Path) -> None:
    """Operators forget the variable when they start a process without the supervisor."""
    ended = run(name, GOOGLE_APPLICATION_CREDENTIALS=str(tmp_path / "missing.json"))

    assert ended.returncode == 1
    assert ended.stderr.startswith("error: FIRESTORE_EMULATOR_HOST is not set, and no credentials")
    assert len((ended.stdout + ended.stderr).splitlines()) == 1


@pytest.mark.parametrize("name", ["the API", "the function"])
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FIRESTORE_EMULATOR_HOST", "http://127.0.0.1:8080"),
        ("DROPZONE_SHARDS", "many"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318"),
    ],
)
def test_a_process_with_an_invalid_variable_names_it(name: str, variable: str, value: str) -> None:
    """The message also has the value. Otherwise, the operator would have to compare all variables with the README."""
    ended = run(name, **{"FIRESTORE_EMULATOR_HOST": "127.0.0.1:1", variable: value})

    assert ended.returncode == 1
    (line,) = (ended.stdout + ended.stderr).splitlines()
    assert line.startswith("error: ")
    assert variable in line
    assert value in line


@pytest.mark.parametrize(("name", "setting"), [("the API", "API_PORT"), ("the function", "FUNCTION_PORT")])
def test_an_address_that_cannot_be_used_is_named_with_its_settings(name: str, setting: str) -> None:
    """Another server uses the port, or the host is not of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        ended = [
            run(name, FIRESTORE_EMULATOR_HOST="127.0.0.1:1", DROPZONE_HOST=host, **{f"DROPZONE_{setting}": port})
            for host in ("127.0.0.1", "192.0.2.1")
        ]

    problems = ["Address already in use", "Cannot assign requested address"]
    for each, host, problem in zip(ended, ("127.0.0.1", "192.0.2.1"), problems, strict=True):
        message = f"error: cannot listen on {host}, port {port} (DROPZONE_HOST, DROPZONE_{setting}): {problem}"
        assert (each.returncode, each.stderr.splitlines()[-1]) == (1, message)
