"""The settings of the command, and the files from which it reads the key of a local stack."""

import os
import re
from pathlib import Path

import pytest

from dropzone.command import local_stack
from dropzone.command.app import SETTINGS, misspelled_setting
from dropzone.command.exit_codes import ExitCode
from tests.client.conftest import Start, run
from tests.stack import Stack

DOCUMENTS = ("docs/clients.md", "docs/configuration.md")
DOCUMENTED = {name for path in DOCUMENTS for name in re.findall(r"`(DROPZONE_[A-Z_]+)`", Path(path).read_text())}


def test_settings_of_the_server_are_accepted() -> None:
    """A shell that exports them can run the command too."""
    assert set(SETTINGS) <= DOCUMENTED
    assert misspelled_setting(DOCUMENTED) is None


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("DROPZONE_ULR", "DROPZONE_URL"),
        ("DROPZONE_URLS", "DROPZONE_URL"),
        ("DROPZONE_KYE", "DROPZONE_KEY"),
        ("DROPZON_KEY", "DROPZONE_KEY"),
        ("DROPZONE_DATADIR", "DROPZONE_DATA_DIR"),
    ],
)
def test_nearest_setting_is_suggested(name: str, setting: str) -> None:
    """Other variables are ignored."""
    assert misspelled_setting(["PATH", "DROPZONE", name]) == f"{name} is not a setting; did you mean {setting}?"


def test_command_refuses_a_misspelled_setting(stack: Stack, start: Start) -> None:
    """It exits before it connects."""
    ran = start(stack, stack.key, "results", env=os.environ | {"DROPZONE_KYE": "x"})
    output, errors = ran.communicate(timeout=100)

    assert (ran.returncode, output) == (2, b"")
    assert errors == b"error: DROPZONE_KYE is not a setting; did you mean DROPZONE_KEY?\n"


def test_the_current_folder_can_be_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command then looks for the key in the other folders, and does not report that it cannot write."""
    folder, clone = tmp_path / "deleted", tmp_path / "clone"
    folder.mkdir()
    (clone / ".dropzone").mkdir(parents=True)
    (clone / ".dropzone/api-key").write_text("dz_key\n")
    monkeypatch.delenv("DROPZONE_DATA_DIR", raising=False)
    monkeypatch.setattr(local_stack, "checkout", lambda: clone)
    monkeypatch.chdir(folder)
    folder.rmdir()

    assert local_stack.read_key() == "dz_key"


def test_a_key_file_that_is_not_text_is_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For example after a damage of the disk. The command printed a traceback."""
    (tmp_path / "api-key").write_bytes(b"\xff")
    monkeypatch.setenv("DROPZONE_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(local_stack, "checkout", lambda: None)
    monkeypatch.chdir(tmp_path)

    assert local_stack.read_key() is None


@pytest.mark.parametrize("command", ["login", "logout", "whoami"])
def test_a_wrong_url_is_wrong_usage(stack: Stack, command: str) -> None:
    """The commands for the sign-in printed a traceback."""
    wrong = run(stack, "", command, "--url", "localhost:8000")

    assert wrong.exit_code == ExitCode.USAGE
    assert "Invalid value for --url" in wrong.stderr


def test_a_refused_sign_in_does_not_ask_for_an_option_that_it_does_not_have(stack: Stack) -> None:
    """`dropzone login` has no option `--key`."""
    refused = run(stack, "", "login")

    assert refused.exit_code == ExitCode.NO_ACCESS
    assert refused.stderr == f"error: {stack.url} accepts no access tokens; use an API key\n"
