"""Sums in doubles with bounds on their errors, against the exact sums."""

from math import fsum

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.triggers.statistics.exact import LARGEST, SMALLEST, array, central, mean, nearest_root
from triggers.computation import MAX_SMALL_SAMPLE
from triggers.statistics import rounded_moments
from triggers.statistics.moments import Moments
from triggers.statistics.rounded_moments import MAX_VALUES, MIN_VALUES

NAMES = ("count", "mean", "sum", "standard_deviation", "sample_standard_deviation", "skewness", "kurtosis")
sizes = st.integers(MIN_VALUES, MAX_VALUES)
finite = st.floats(allow_nan=False, allow_infinity=False)


def _sample(draw: st.DrawFn) -> list[float]:
    """Return random values of one shape: hypothesis draws few large lists, so NumPy makes most of the values."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = draw(sizes)
    noise = random.normal(size=size) if draw(st.booleans()) else random.exponential(size=size) ** 3
    digits = draw(st.none() | st.integers(0, 6))
    if digits is not None:
        noise = np.round(noise, digits)
    noise *= draw(st.sampled_from([1.0, 1e-12, 1e-300, 1e100, 1e-320]))
    offset = draw(st.sampled_from([0.0, 1.0, -20.0, 1e9 + 0.1, 1e-300, -1e15]))
    with np.errstate(all="ignore"):
        values = np.where(random.random(size) < draw(st.sampled_from([0.0, 0.5])), -1.0, 1.0) * noise + offset
    replaced = draw(st.lists(finite | st.sampled_from([LARGEST, -LARGEST, SMALLEST, -0.0]), max_size=3))
    return [*values.tolist(), *replaced][-MAX_VALUES:]


shaped = st.composite(_sample)()
few = st.lists(finite, min_size=1, max_size=20)


def _check(values: list[float]) -> bool:
    """Compare all bits with the exact sums. Return whether the bounds decided."""
    rounded = rounded_moments.of_small_samples([sorted(values)])[0]
    if rounded is None:
        return False
    exact = Moments.of_small_sample(values)
    for name in NAMES:
        assert repr(getattr(rounded, name)) == repr(getattr(exact, name)), name
    return True


@given(shaped | few.map(lambda values: values * 10) | few)
@example([1e308, -1e308, 1.0] * 40)  # the spread is infinite
@example([SMALLEST, 0.0, -0.0, 2 * SMALLEST] * 10)
@example([1e15 + 0.125, 1e15 + 0.25, -1e15] * 30)
@example([0.1] * 50)
@example([1.0] * 99 + [1.0 + 2.0**-52])
@example([1.0, 2.0, 3.0, 4.0] * 25)  # the mean lies exactly between two values, and the skewness is 0
@example([1e-200] * 50 + [1.0] * 50)  # the smaller values vanish in the unit of the larger ones
@example([1e270, -1e-270] * 30)
@example([-1.0, 1.0 - 2.0**-53] * 32)
@example([5.0])
def test_the_bounds_decide_only_for_the_exact_double(values: list[float]) -> None:
    """A statistic is either that of the exact sums, in all bits, or undecided."""
    _check(values)


@given(st.lists((shaped | few).map(sorted), min_size=2, max_size=4), st.integers(1, 3))
def test_samples_have_the_same_statistics_together_and_alone(samples: list[list[float]], repeated: int) -> None:
    """All bits are equal. Samples with the same number of values are rows of one array."""
    together = rounded_moments.of_small_samples(samples * repeated)

    alone = [rounded_moments.of_small_samples([values])[0] for values in samples]
    assert repr(together) == repr(alone * repeated)


@given(st.lists(st.floats(-1e9, 1e9), min_size=MIN_VALUES, max_size=60))
def test_decided_statistics_agree_with_rational_arithmetic(values: list[float]) -> None:
    """The reference has other formulas than both implementations."""
    rounded = rounded_moments.of_small_samples([sorted(values)])[0]
    if rounded is not None:
        variance = central(array(*values), 2)
        assert rounded.sum == fsum(values)
        assert rounded.mean == float(mean(array(*values)))
        assert rounded.standard_deviation == nearest_root(variance)
        assert rounded.kurtosis == float(central(array(*values), 4) / variance**2 - 3)


@given(st.integers(0, 2**32), st.sampled_from([1e-15, 1e-12, 1e-9, 1e-6, 1e-3]))
def test_small_statistics_of_almost_symmetric_samples_are_exact_or_undecided(seed: int, deviation: float) -> None:
    """Almost all of the sums cancels out, so their rounding errors are large compared to the result."""
    random = np.random.default_rng(seed)
    half = random.normal(size=30)
    values = np.concatenate([half, -half * (1 + deviation * random.random(30))])

    _check(values.tolist())


@pytest.mark.parametrize("digits", [1, 3, 17])
@pytest.mark.parametrize("offset", [0.0, 20.0, 1e6])
@pytest.mark.parametrize("size", [MIN_VALUES, 100, MAX_VALUES])
def test_most_samples_need_no_exact_sums(size: int, offset: float, digits: int) -> None:
    """The exact sums take four times as long."""
    random = np.random.default_rng(7)
    decided = [_check(np.round(random.normal(offset, 2.0, size), digits).tolist()) for _ in range(60)]

    assert sum(decided) > 40


@pytest.mark.parametrize("size", [MIN_VALUES - 1, MAX_VALUES + 1])
def test_other_numbers_of_values_are_left_to_the_exact_sums(size: int) -> None:
    """The bounds hold for few values only. All small samples are few values."""
    assert rounded_moments.of_small_samples([[float(number) for number in range(size)]]) == [None]
    assert MAX_VALUES == MAX_SMALL_SAMPLE
