"""The user service of systemd in docs/operating.md, started and stopped as systemd does it."""

import os
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.ports import free_port
from tests.stack import PATIENCE_SECONDS, eventually

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture
def unit() -> str:
    """Return the documented unit for this checkout."""
    (documented,) = re.findall(r"```ini\n(.*?)```", (CHECKOUT / "docs/operating.md").read_text(), re.DOTALL)
    return str(documented).replace("%h/dropzone", str(CHECKOUT))


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return what systemd sets, and settings for a data folder and ports of this test."""
    names = ("DROPZONE_API_PORT", "DROPZONE_FIRESTORE_PORT", "DROPZONE_FUNCTION_PORT")
    settings = {"DROPZONE_DATA_DIR": str(tmp_path / "data"), **{name: str(free_port()) for name in names}}
    return {"HOME": str(tmp_path), "PATH": os.defpath, "PYTHONPATH": os.environ.get("PYTHONPATH", "")} | settings


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_unit(unit: str, tmp_path: Path) -> None:
    """A misspelled key would have no effect."""
    file = tmp_path / "dropzone.service"
    file.write_text(unit)

    verified = subprocess.run(
        ["systemd-analyze", "verify", "--user", file],
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


def test_the_service_starts_in_any_folder_and_stops_without_an_error(
    unit: str, environment: dict[str, str], tmp_path: Path
) -> None:
    """SIGTERM reaches only the main process. An exit code other than 0 would start the service again."""
    (command,) = re.findall("^ExecStart=(.*)$", unit, re.MULTILINE)
    log = tmp_path / "log"
    with log.open("wb") as output:
        service = subprocess.Popen(
            shlex.split(command),
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{environment['DROPZONE_API_PORT']}/readyz"

    def is_ready() -> bool:
        assert service.poll() is None, log.read_text()
        try:
            return httpx.get(url).status_code == 200
        except httpx.TransportError:
            return False

    try:
        eventually(is_ready, lambda: log.read_text())
    finally:
        service.send_signal(signal.SIGTERM)

    assert service.wait(PATIENCE_SECONDS) == 0
    assert "stopping" in log.read_text()
