"""The statistics against NIST's Statistical Reference Datasets."""

from pathlib import Path

import pytest

from tests.triggers.statistics import strd

PAGE = Path("docs/statistics.md")


@pytest.mark.parametrize("data", list(strd.sets()), ids=lambda data: data.name)
def test_all_digits_of_the_doubles_are_correct(data: strd.Set) -> None:
    """Other digits are lost only in the conversion of the decimal numbers to doubles."""
    for digits in (strd.means(data), strd.deviations(data)):
        assert digits.ours_of_doubles == strd.DOUBLE_DIGITS
        assert digits.ours > digits.numpy - 0.1
        assert digits.ours > digits.one_pass - 0.1


def test_the_documentation_contains_the_current_table() -> None:
    """`python -m tests.triggers.statistics.strd` prints the table."""
    assert strd.table() in PAGE.read_text()
