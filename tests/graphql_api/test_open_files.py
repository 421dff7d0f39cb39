"""The API needs enough open files for its connections."""

import os
import subprocess
import sys


def test_the_api_says_if_it_may_open_too_few_files() -> None:
    """It exits at once, and names what to change."""
    command = f"ulimit -n 300; exec {sys.executable} -m graphql_api"

    environment = os.environ | {"FIRESTORE_EMULATOR_HOST": "127.0.0.1:8080"}
    process = subprocess.run(
        ["sh", "-c", command], env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    error = "error: the process may open only 300 files; raise `ulimit -n` above 512"
    assert (process.returncode, process.stderr.strip()) == (1, error)
