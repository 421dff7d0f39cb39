"""hadolint is run, and its problems are reported."""

from pathlib import Path

from infra.check import dockerfile


def test_a_problem_is_reported(tmp_path: Path) -> None:
    """A package that apt-get installs has no version here."""
    changed = tmp_path / "Dockerfile"
    changed.write_text(dockerfile.DOCKERFILE.read_text() + "RUN apt-get install gcc\n")

    assert any("DL3008" in problem for problem in dockerfile.check(changed))
