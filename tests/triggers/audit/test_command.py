"""`python -m triggers.audit`, for schedulers that run commands."""

import json
import os
import subprocess
import sys

import pytest

from tests.infra.firestore.server_process import FirestoreProcess


def run_audit(firestore: FirestoreProcess, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run the command with the environment of the function."""
    environment = os.environ | {
        "FIRESTORE_EMULATOR_HOST": firestore.address,
        "GOOGLE_CLOUD_PROJECT": "audited-by-the-command",
        "DROPZONE_EVENT_SECRET": "s" * 40,
        **settings,
    }
    command = [sys.executable, "-m", "triggers.audit"]
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True)


def test_the_command_prints_what_it_has_done(indexed_firestore: FirestoreProcess) -> None:
    """One line of JSON, as in the response of `POST /audit`."""
    ran = run_audit(indexed_firestore)

    assert ran.returncode == 0, ran.stderr
    expected = {"checked", "triggered", "healed", "missing", "givenUp", "reads", "checkedUntil"}
    assert json.loads(ran.stdout).keys() == expected


@pytest.mark.parametrize("module", ["triggers.audit", "triggers.rollups"])
def test_help_runs_nothing(module: str) -> None:
    """The command would need a Firestore and a secret."""
    command = [sys.executable, "-m", module, "--help"]
    environment = {**os.environ, "DROPZONE_EVENT_SECRET": ""}
    ran = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith(f"usage: python -m {module} ")


@pytest.mark.parametrize(("name", "value"), [("DROPZONE_SHARDS", "0"), ("DROPZONE_AUDIT_DELAY_SECONDS", "soon")])
def test_an_unusable_setting_is_refused(indexed_firestore: FirestoreProcess, name: str, value: str) -> None:
    """The message names the setting."""
    ran = run_audit(indexed_firestore, **{name: value})

    assert ran.returncode == 1
    assert ran.stderr.startswith("error: ")
    assert name in ran.stderr
