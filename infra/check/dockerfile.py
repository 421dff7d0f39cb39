"""hadolint for the Dockerfile."""

import subprocess
import sys
from pathlib import Path

DOCKERFILE = Path("infra/container/Dockerfile")


def check(dockerfile: Path = DOCKERFILE) -> list[str]:
    """Return the problems that hadolint finds."""
    hadolint = Path(sys.executable).with_name("hadolint")
    command = [str(hadolint), "--no-color", str(dockerfile)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 (fixed command)
    problems = ran.stdout.splitlines() + ran.stderr.splitlines()
    return problems if problems or not ran.returncode else [f"hadolint ended with {ran.returncode}"]
