"""Messages name a command that works where the user is."""

import sys
from pathlib import Path

import pytest

from infra.embedded.python_command import python_command


def test_the_command_is_relative_in_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a checkout is not active."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python"))

    assert python_command("infra.embedded") == ".venv/bin/python -m infra.embedded"


def test_the_command_is_short_if_the_environment_is_active(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python` is then this interpreter."""
    python = tmp_path / "python"
    python.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(python))

    assert python_command("infra.embedded") == "python -m infra.embedded"
