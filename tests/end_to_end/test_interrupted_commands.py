"""Ctrl-C ends each command of an operator with one line, and not with a traceback.

`tests/infra/firestore/writes/test_document_import.py` interrupts an import.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.stack import PATIENCE_SECONDS

ENVIRONMENT = {"GOOGLE_CLOUD_PROJECT": "dropzone-local", "DROPZONE_EVENT_SECRET": "s" * 32, "DROPZONE_KEY": "dz_key"}
COMMANDS: dict[str, Callable[[int], list[str]]] = {
    "keys": lambda _: ["graphql_api.auth.keys", "list"],
    "erasure": lambda _: ["graphql_api.erasure", "--submitter", "station-7", "--yes"],
    "verify": lambda _: ["triggers.verify"],
    "audit": lambda _: ["triggers.audit"],
    "rollups": lambda _: ["triggers.rollups"],
    "smoke": lambda port: ["infra.smoke", "--url", f"http://127.0.0.1:{port}"],
}
"""Each command that waits for a server, by the port of a server that never responds."""


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_waits_for_a_server_ends_at_the_first_ctrl_c(name: str) -> None:
    """The smoke test printed a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE_SECONDS)
        port = silent.getsockname()[1]
        command = [sys.executable, "-m", *COMMANDS[name](port)]
        environment = os.environ | ENVIRONMENT | {"FIRESTORE_EMULATOR_HOST": f"127.0.0.1:{port}"}
        with (
            subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True) as running,
            silent.accept()[0],
        ):
            running.send_signal(signal.SIGINT)
            output, errors = running.communicate(timeout=PATIENCE_SECONDS)

    assert (running.returncode, output, errors) == (130, "", "interrupted\n")
