"""Run Google's own system tests of the Python client against the embedded Firestore.

The tests are in the source distribution of google-cloud-firestore. pip downloads it and installs the requirements
into a temporary virtual environment, which is deleted afterwards. The tests that apply to an emulator must pass.
So must the tests of update, get_all, partition and explain, which Google skips for its own emulator.

    python -m tests.conformance.google [-k EXPRESSION] [other pytest arguments]
"""

import os
import re
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
from importlib.metadata import version
from pathlib import Path

from tests.ports import free_port

CLIENT = f"google-cloud-firestore=={version('google-cloud-firestore')}"
REQUIREMENTS = (CLIENT, "google-cloud-testutils", "mock", "pytest", "pytest-asyncio", "pytest-timeout", "PyYAML", "six")
SKIPPED = "Internal Issue|PartitionQuery|Query profile"
SKIPS_TO_REMOVE = re.compile(
    rf"@pytest\.mark\.skipif\(\s*FIRESTORE_EMULATOR,\s*reason=\"(?:{SKIPPED})[^\"]*\",?\s*\)\n"
    r"(?!(?:@.*\n)*(?:async )?def test_pipeline)"
)
MIN_PASSED = {"test_system.py": 131, "test_system_async.py": 104}  # in version 2.34.1, without the removed skips
SCOPES = ("asyncio_default_fixture_loop_scope=module", "asyncio_default_test_loop_scope=module")
PROJECT = "conformance"
TIMEOUT_SECONDS = 900
START_TIMEOUT_SECONDS = 30
TEST_TIMEOUT_SECONDS = 120


def fetch(folder: Path) -> Path:
    """Download and unpack the source distribution, and return the folder of its system tests."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "google-cloud-firestore"]
    subprocess.run([*pip, "--dest", str(folder), CLIENT], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    (tests,) = folder.glob("*/tests/system")
    for name in MIN_PASSED:
        path = tests / name
        path.write_text(SKIPS_TO_REMOVE.sub("", path.read_text()))
    return tests


def make_environment(folder: Path) -> Path:
    """Create a virtual environment with the client and the requirements of its tests, and return its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
    return python


def start_server(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start the embedded Firestore on a free port; return its process and address."""
    port = free_port()
    command = [sys.executable, "-m", "infra.embedded.firestore", "--port", str(port)]
    process = subprocess.Popen([*command, "--data", str(folder / "firestore.sqlite")])
    for _ in range(10 * START_TIMEOUT_SECONDS):
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return process, f"127.0.0.1:{port}"
        time.sleep(0.1)
    process.terminate()
    raise SystemExit(f"the embedded Firestore did not start within {START_TIMEOUT_SECONDS} s")


def passed_count(output: str) -> int:
    """Return the number of passed tests in the last line of pytest's output."""
    match = re.search(r"(\d+) passed", output.splitlines()[-1] if output else "")
    return int(match[1]) if match else 0


def main() -> int:
    """Run the system tests against a new server and return the exit code."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tests = fetch(folder / "source")
        python = make_environment(folder / "environment")
        server, address = start_server(folder)
        environment = os.environ | {
            "FIRESTORE_EMULATOR_HOST": address,
            "GCLOUD_PROJECT": PROJECT,
            "GOOGLE_CLOUD_PROJECT": PROJECT,
        }
        failed = False
        try:
            for file, min_passed in MIN_PASSED.items():
                command = [
                    str(python),
                    "-m",
                    "pytest",
                    "-q",
                    "--timeout",
                    str(TEST_TIMEOUT_SECONDS),
                    file,
                    *sys.argv[1:],
                ]
                command += [argument for scope in SCOPES for argument in ("-o", scope)]
                run = subprocess.run(
                    command, cwd=tests, env=environment, timeout=TIMEOUT_SECONDS, capture_output=True, text=True
                )
                sys.stdout.write(run.stdout + run.stderr)
                has_enough = bool(sys.argv[1:]) or passed_count(run.stdout) >= min_passed
                failed = failed or run.returncode != 0 or not has_enough
        finally:
            server.terminate()
            server.wait(10)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
