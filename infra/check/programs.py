"""Runs programs that print the problems that they find."""

import subprocess
import sys
from pathlib import Path


def installed(name: str) -> Path:
    """Return a program that a package of this Python environment has installed."""
    return Path(sys.executable).with_name(name)


def problems(program: Path, *arguments: str) -> list[str]:
    """Return the output of a program if its exit status says that it found a problem or failed."""
    if not program.exists():
        return [f"{program} is not installed; run: make infra-check"]
    ran = subprocess.run([str(program), *arguments], check=False, capture_output=True, text=True)
    if not ran.returncode:
        return []
    return (ran.stdout + ran.stderr).strip().splitlines() or [f"{program.name} ended with status {ran.returncode}"]
