"""The smoke test passes against a stack, and names what is wrong."""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.smoke import checks
from infra.smoke.checks import Failure, SmokeTest, large_sample
from tests.stack import Stack

CHECKS = ["ready", "wrong key", "fixture", "30 MiB sample", "clean-up"]


def smoke(url: str, key: str) -> subprocess.CompletedProcess[str]:
    """Run the command against the API at `url`."""
    return subprocess.run(
        [sys.executable, "-m", "infra.smoke", "--url", url],
        env={"DROPZONE_KEY": key, "PYTHONPATH": "client"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_smoke_test_passes_against_a_stack(stack: Stack) -> None:
    """The submitter has no results yet, as in a new project. A second run stores the large sample no second time."""
    key = stack.new_key("smoke")

    runs = [smoke(stack.url, key) for _ in range(2)]

    for run in runs:
        assert run.returncode == 0, run.stderr
        assert [line.split(":")[0].removeprefix("ok  ") for line in run.stdout.splitlines()] == CHECKS
    total = stack.graphql("{ samples(first: 1) { totalCount } }", key=key)["samples"]["totalCount"]
    assert total == 4, "a fixture to get a cursor, two fixtures, one large sample"


def test_an_administrator_leaves_no_samples(stack: Stack) -> None:
    """The key of a deployment has the scope admin. A second run stores and deletes a new large sample."""
    key = stack.new_key("smoke-admin", "submit,read,admin")

    runs = [smoke(stack.url, key) for _ in range(2)]

    assert [(run.returncode, run.stderr) for run in runs] == [(0, "")] * 2
    assert "ok  clean-up: 3 samples deleted" in runs[0].stdout
    assert stack.graphql("{ samples(first: 1) { totalCount } }", key=key)["samples"]["totalCount"] == 0


def test_a_refused_key_fails_and_is_named(stack: Stack) -> None:
    """An operator sees the error of the API."""
    run = smoke(stack.url, "dz_" + "1" * 43)

    assert run.returncode == 1
    assert "failed: " in run.stderr
    assert "API key" in run.stderr


def test_an_api_that_cannot_be_reached_fails_with_the_reason() -> None:
    """After a first deployment with a domain, its DNS record and its certificate do not exist yet."""
    with pytest.raises(Failure, match=r"ready: not finished within 1 s; Cannot connect to host 127\.0\.0\.1:1 "):
        asyncio.run(SmokeTest("http://127.0.0.1:1", "dz_1", timeout_seconds=1).run())


def test_a_wrong_result_fails(stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The result is compared with the expected one, not only awaited."""
    key = stack.new_key("smoke-wrong")
    shutil.copy(checks.FIXTURE / "sample.json", tmp_path)
    (tmp_path / "result.json").write_text('{"count": 100, "mean": 0.5, "standard_deviation": 1.0}')
    monkeypatch.setattr(checks, "FIXTURE", tmp_path)

    with pytest.raises(Failure, match=r"expected \(100, 0\.5, 1\.0\)"):
        asyncio.run(SmokeTest(stack.url, key, timeout_seconds=60).run())


def test_the_large_sample_is_as_large_as_the_limit_allows() -> None:
    """Cloud Run counts the whole request, so the body stays below 30 MiB."""
    sample, count = large_sample()

    assert 30 * 2**20 - 10 < len(sample) <= 30 * 2**20
    assert sample.count(b",") == count  # one after each value but the last, one after the time stamp


@pytest.mark.parametrize(("arguments", "sends_local_key"), [([], True), (["URL=https://api.example.org"], False)])
def test_make_smoke_sends_the_key_of_the_local_stack_to_this_stack_only(
    arguments: list[str], sends_local_key: bool
) -> None:
    """Another server could store the key. Its own key is the variable KEY."""
    recipe = subprocess.run(["make", "--dry-run", "smoke", *arguments], check=True, capture_output=True, text=True)

    assert "$KEY" in recipe.stdout or "${KEY" in recipe.stdout
    assert (".dropzone/api-key" in recipe.stdout) is sends_local_key
