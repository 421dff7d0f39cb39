"""The script that creates `.venv` for `make run`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.supervisor.run import ROOT


@pytest.mark.parametrize("has_part", [False, True], ids=["no pip", "a part of pip"])
def test_an_environment_without_a_complete_pip_is_created_again(tmp_path: Path, has_part: bool) -> None:
    """Ctrl-C during the first `make run` leaves one, because pip is installed last."""
    lock = tmp_path / "requirements.lock"
    lock.touch()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / ".venv"], check=True)
    if has_part:
        (packages,) = tmp_path.glob(".venv/lib/python*/site-packages")
        (packages / "pip").mkdir()
        (packages / "pip/__init__.py").touch()

    done = subprocess.run(
        ["sh", ROOT / "infra/embedded/set_up.sh", lock],
        cwd=tmp_path,
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.startswith("creating .venv with Python 3.")
    assert "No module named pip" not in done.stderr
    subprocess.run([tmp_path / ".venv/bin/python", "-m", "pip", "--version"], check=True)
