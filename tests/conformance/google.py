"""Run Google's own system tests of the Python client against the embedded Firestore.

They are in the source distribution of google-cloud-firestore, which pip fetches, with what they need, into a
temporary virtual environment; nothing of them is kept. Those that an emulator is meant to pass must pass,
and beyond them those for update, get_all and partition, which Google skips for its own emulator.

    python tests/conformance/google.py [-k EXPRESSION ...further arguments of pytest]
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

CLIENT = f"google-cloud-firestore=={version('google-cloud-firestore')}"
REQUIREMENTS = (CLIENT, "google-cloud-testutils", "mock", "pytest", "pytest-asyncio", "pytest-timeout", "PyYAML", "six")
LIFTED = re.compile(
    r"@pytest\.mark\.skipif\(\s*FIRESTORE_EMULATOR,\s*reason=\"(?:Internal Issue|PartitionQuery)[^\"]*\",?\s*\)\n"
)
EXPECTED = {"test_system.py": 131, "test_system_async.py": 104}  # of 2.34.1, with those that are lifted
SCOPES = ("asyncio_default_fixture_loop_scope=module", "asyncio_default_test_loop_scope=module")
PROJECT = "conformance"
MAX_SECONDS = 900


def fetch(folder: Path) -> Path:
    """Return the folder of the system tests, freshly unpacked."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "google-cloud-firestore"]
    subprocess.run([*pip, "--dest", str(folder), CLIENT], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    (tests,) = folder.glob("*/tests/system")
    for name in EXPECTED:
        path = tests / name
        path.write_text(LIFTED.sub("", path.read_text()))
    return tests


def make_environment(folder: Path) -> Path:
    """Return a Python that has the client and what its tests need."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
    return python


def start_server(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start the embedded Firestore on a free port; return its process and address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "infra.embedded.firestore", "--port", str(port)]
    process = subprocess.Popen([*command, "--data", str(folder / "firestore.sqlite")])
    for _ in range(300):
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return process, f"127.0.0.1:{port}"
        time.sleep(0.1)
    raise SystemExit("the embedded Firestore did not start")


def passed(output: str) -> int:
    """Return how many tests passed, by the last line of pytest."""
    found = re.search(r"(\d+) passed", output.splitlines()[-1] if output else "")
    return int(found[1]) if found else 0


def main() -> int:
    """Run everything and return the exit code."""
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
            for file, expected in EXPECTED.items():
                command = [str(python), "-m", "pytest", "-q", "--timeout", "120", file, *sys.argv[1:]]
                command += [argument for scope in SCOPES for argument in ("-o", scope)]
                run = subprocess.run(
                    command, cwd=tests, env=environment, timeout=MAX_SECONDS, capture_output=True, text=True
                )
                sys.stdout.write(run.stdout + run.stderr)
                enough = bool(sys.argv[1:]) or passed(run.stdout) >= expected
                failed = failed or run.returncode != 0 or not enough
        finally:
            server.terminate()
            server.wait(10)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
