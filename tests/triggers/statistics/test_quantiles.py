"""Quantiles against their definition in rational numbers, and against NumPy."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.triggers.statistics.exact import LARGEST, SMALLEST
from triggers.statistics.distribution import quantile

PERCENTS = (1, 5, 25, 50, 75, 95, 99)

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(finite, min_size=1, max_size=250), st.sampled_from(PERCENTS))
@example([-LARGEST, LARGEST], 25)
@example([0.0, SMALLEST], 50)
def test_a_quantile_is_the_double_nearest_to_the_exact_value(values: list[float], percent: int) -> None:
    """The definition is number 7 of Hyndman and Fan. No difference overflows, and no share is rounded."""
    sorted_values = sorted(values)
    position = Fraction((len(values) - 1) * percent, 100)
    below = int(position)
    above = min(below + 1, len(values) - 1)
    low, high = Fraction(sorted_values[below]), Fraction(sorted_values[above])

    result = quantile(sorted_values, percent)

    assert result == float(low + (high - low) * (position - below))
    assert result == quantile(np.array(sorted_values), percent)


@pytest.mark.parametrize("count", [1, 2, 3, 10, 101, 10_000])
def test_quantiles_are_those_of_numpy(count: int) -> None:
    """NumPy rounds two or three times, so the comparison has a tolerance."""
    values = np.sort(np.random.default_rng(count).normal(5.0, 1.0, size=count))

    result = [quantile(values, percent) for percent in PERCENTS]

    np.testing.assert_allclose(result, np.percentile(values, PERCENTS), rtol=1e-15)


def test_the_quantile_of_zeros_has_no_sign() -> None:
    """-0.0 and 0.0 are equal, so their order is not defined. A result must not depend on it."""
    assert str(quantile([-0.0, -0.0], 50)) == str(quantile([-0.0], 1)) == "0.0"
