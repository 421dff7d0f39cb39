"""The command refuses misspelled settings."""

import os
import re
from pathlib import Path

from dropzone.command.settings import SETTINGS, unknown_setting
from tests.client.conftest import Start
from tests.stack import Stack


def test_settings_equal_those_of_the_readme() -> None:
    """A shell that exports settings of the server can run the command too."""
    documented = set(re.findall(r"`(DROPZONE_[A-Z_]+)`", Path("README.md").read_text()))

    assert set(SETTINGS) == documented


def test_nearest_setting_is_suggested() -> None:
    """Other variables are ignored."""
    names = ["PATH", "DROPZONE", "DROPZONE_URL", "DROPZONE_ULR"]

    assert unknown_setting(names) == "DROPZONE_ULR is not a setting; did you mean DROPZONE_URL?"
    assert unknown_setting(SETTINGS) is None


def test_command_refuses_an_unknown_setting(stack: Stack, start: Start) -> None:
    """It exits before it connects."""
    ran = start(stack, stack.key, "results", env=os.environ | {"DROPZONE_KYE": "x"})
    output, errors = ran.communicate(timeout=100)

    assert (ran.returncode, output) == (2, b"")
    assert errors == b"error: DROPZONE_KYE is not a setting; did you mean DROPZONE_KEY?\n"
