"""hadolint for the Dockerfile."""

from pathlib import Path

from infra.check import programs

DOCKERFILE = Path("infra/container/Dockerfile")


def check(dockerfile: Path = DOCKERFILE) -> list[str]:
    """Return the problems that hadolint finds."""
    return programs.problems(programs.installed("hadolint"), "--no-color", str(dockerfile))
