"""The image contains every package that its processes import."""

from pathlib import Path

from tests.test_layout import PACKAGES

DEVELOPMENT = ("infra/check", "infra/prometheus")


def test_every_package_is_copied_into_the_image() -> None:
    """`.dockerignore` lists what is copied."""
    copied = [line[1:] for line in Path(".dockerignore").read_text().splitlines() if line.startswith("!")]
    missing = [
        package
        for package in PACKAGES
        if package not in DEVELOPMENT and not any(f"{package}/".startswith(f"{each}/") for each in copied)
    ]

    assert missing == []
