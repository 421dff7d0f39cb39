"""An empty argument is refused: a script whose variable is not set would otherwise do something else."""

from pathlib import Path

import pytest

from tests.client.conftest import run
from tests.stack import Stack

FIXTURE = Path("fixture/sample.json").resolve()


@pytest.mark.parametrize(
    "arguments",
    [
        ("submit", ""),
        ("submit", FIXTURE, ""),
        ("submit", "--supersedes", "", FIXTURE),
        ("results", "--submitter", ""),
        ("watch", "--after", "", "--limit", "1"),
        ("show", ""),
        ("show", "--raw", " "),
        ("delete", "--yes", ""),
    ],
)
def test_an_empty_argument_is_refused(
    stack: Stack, arguments: tuple[str | Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`submit ""` would submit the current folder, and an empty `--supersedes` would not correct the sample."""
    (tmp_path / "sample.json").write_bytes(FIXTURE.read_bytes())
    monkeypatch.chdir(tmp_path)

    ran = run(stack, stack.new_key("empty-arguments"), *arguments)

    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "expected a value, got an empty text" in ran.stderr
