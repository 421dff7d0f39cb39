"""Against NIST's Statistical Reference Datasets."""

from pathlib import Path

import pytest

from tests.triggers import strd

PAGE = Path(__file__).parents[2] / "docs" / "statistics.md"


@pytest.mark.parametrize("data", list(strd.sets()), ids=lambda data: data.name)
def test_all_digits_are_right_that_the_doubles_have(data: strd.Set) -> None:
    """What is lost was lost when the decimal numbers became doubles, before any arithmetic."""
    for digits in (strd.means(data), strd.deviations(data)):
        assert digits.ours_of_doubles == strd.DOUBLE_DIGITS
        assert digits.ours > digits.numpy - 0.1
        assert digits.ours > digits.one_pass - 0.1


def test_the_page_shows_the_table_as_it_is() -> None:
    """`python -m tests.triggers.strd` prints it anew."""
    assert strd.table() in PAGE.read_text()
