"""Quantiles against their definition in rational numbers, and against NumPy's."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.triggers.exact import LARGEST, SMALLEST
from triggers.quantiles import quantile

PERCENTS = (1, 5, 25, 50, 75, 95, 99)

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(finite, min_size=1, max_size=250), st.sampled_from(PERCENTS))
@example([-LARGEST, LARGEST], 25)
@example([0.0, SMALLEST], 50)
def test_a_quantile_is_the_double_nearest_to_the_point_on_the_line(values: list[float], percent: int) -> None:
    """Number 7 of Hyndman and Fan, without the overflow of a difference, and without rounding the share."""
    ordered = sorted(values)
    place = Fraction((len(values) - 1) * percent, 100)
    below = int(place)
    above = min(below + 1, len(values) - 1)
    low, high = Fraction(ordered[below]), Fraction(ordered[above])

    found = quantile(ordered, percent)

    assert found == float(low + (high - low) * (place - below))
    assert found == quantile(np.array(ordered), percent)


@pytest.mark.parametrize("count", [1, 2, 3, 10, 101, 10_000])
def test_quantiles_are_those_of_numpy(count: int) -> None:
    """But for the rounding: NumPy's are two or three roundings off."""
    values = np.sort(np.random.default_rng(count).normal(5.0, 1.0, size=count))

    found = [quantile(values, percent) for percent in PERCENTS]

    np.testing.assert_allclose(found, np.percentile(values, PERCENTS), rtol=1e-15)


def test_the_quantile_of_zeros_has_no_sign() -> None:
    """-0.0 and 0.0 are equal, and a stored result must not differ between machines."""
    assert str(quantile([-0.0, -0.0], 50)) == str(quantile([-0.0], 1)) == "0.0"
