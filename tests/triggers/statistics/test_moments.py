"""Power sums against exact rational numbers, without any tolerance."""

from fractions import Fraction
from functools import reduce
from math import nextafter
from operator import add
from random import Random
from time import thread_time

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.triggers.statistics.exact import LARGEST, SMALLEST, array, central, mean, nearest_root
from triggers.statistics.moments import BLOCK, MAX_FEW, Moments

finite = st.floats(allow_nan=False, allow_infinity=False)
neighbours = st.tuples(finite, st.lists(st.integers(-3, 3), min_size=1, max_size=40)).map(
    lambda drawn: [_step(drawn[0], steps) for steps in drawn[1]]
)
offsets = st.tuples(st.sampled_from([1e9, -1e15, 1e300, 1e-300]), st.lists(finite, min_size=1, max_size=40)).map(
    lambda drawn: [v for v in (drawn[0] + x * 1e-290 for x in drawn[1]) if abs(v) <= LARGEST] or [drawn[0]]
)
adversarial = st.one_of(st.lists(finite, min_size=1, max_size=60), neighbours, offsets)


def _step(value: float, steps: int) -> float:
    for _ in range(abs(steps)):
        value = nextafter(value, LARGEST if steps > 0 else -LARGEST)
    return value


def _double_or_none(exact: Fraction) -> float | None:
    return float(exact) if abs(exact) < Fraction(2) ** 1024 - Fraction(2) ** 970 else None


def _check(values: npt.NDArray[np.float64]) -> None:
    _compare(Moments.of(values), values)
    _compare(Moments.of_small_sample(values.tolist()), values)


def _processor_seconds(values: list[float]) -> float:
    """Return the CPU time of the moments of a small sample. The shortest of several runs has no interruptions."""
    seconds = []
    for _ in range(10):
        started_at = thread_time()
        Moments.of_small_sample(values)
        seconds.append(thread_time() - started_at)
    return min(seconds)


def _compare(moments: Moments, values: npt.NDArray[np.float64]) -> None:
    count, variance = len(values), central(values, 2)
    assert moments.count == count
    assert moments.sum == _double_or_none(mean(values) * count)
    assert moments.mean == float(mean(values))
    assert moments.standard_deviation == nearest_root(variance)
    if count == 1:
        assert moments.sample_standard_deviation is None
    elif moments.sample_standard_deviation is None:
        assert variance * count / (count - 1) > Fraction(LARGEST) ** 2
    else:
        assert moments.sample_standard_deviation == nearest_root(variance * count / (count - 1))
    if not variance:
        assert (moments.skewness, moments.kurtosis) == (None, None)
        return
    third = central(values, 3)
    assert moments.skewness == nearest_root(third**2 / variance**3) * (-1 if third < 0 else 1)
    assert moments.kurtosis == float(central(values, 4) / variance**2 - 3)


@given(adversarial)
@example([0.1, 0.1, 0.1])
@example([LARGEST, LARGEST, -LARGEST])
@example([LARGEST, -LARGEST, 1e-300])
@example([1.0, -(2.0**-53) - 2.0**-103])  # the deviation lies slightly above the midpoint of two doubles
@example([SMALLEST, 0.0, -SMALLEST, 2 * SMALLEST])
@example([LARGEST, SMALLEST, 1.0, -1e-160])
@example([1e15, 1e15 + 1, 1e15 + 0.5])
@example([4.0, 3.602879701896398e16])  # the deviation is the midpoint of two doubles
@example([LARGEST, -LARGEST])  # the sample standard deviation exceeds the largest double
def test_each_statistic_is_the_double_nearest_to_the_exact_value(values: list[float]) -> None:
    """Rational arithmetic, rounded once, has the same bits for all finite doubles."""
    _check(array(*values))


@pytest.mark.parametrize("repeated", [1, 250])
@given(adversarial)
def test_small_and_large_samples_have_the_same_moments(repeated: int, values: list[float]) -> None:
    """Small samples are summed as integers, large ones in blocks."""
    once, more = Moments.of_small_sample(values), Moments.of(np.tile(array(*values), repeated))

    low = min(once.exponent, more.exponent)
    assert more.count == repeated * once.count
    for power, (one, many) in enumerate(zip(once.sums, more.sums, strict=True), 1):
        assert many << power * (more.exponent - low) == repeated * one << power * (once.exponent - low)


@given(st.lists(adversarial, min_size=1, max_size=6), st.randoms())
def test_the_moments_of_parts_add_up_to_those_of_the_sample(parts: list[list[float]], random: Random) -> None:
    """The result does not depend on the parts or on the order in which they are added."""
    whole = Moments.of(array(*(value for part in parts for value in part)))
    random.shuffle(parts)

    added = reduce(add, (Moments.of(array(*part)) for part in parts), Moments())

    for name in ("count", "sum", "mean", "standard_deviation", "sample_standard_deviation", "skewness", "kurtosis"):
        assert repr(getattr(added, name)) == repr(getattr(whole, name))


@pytest.mark.parametrize("value", [0.1, -0.1, 1e9 + 0.1, 1e15 + 0.3, LARGEST, -LARGEST, SMALLEST, 0.0, 1 / 3])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 1000])
def test_the_standard_deviation_of_equal_values_is_exactly_zero(value: float, count: int) -> None:
    """The textbook formula returns noise here, or takes the root of a negative number."""
    for moments in (Moments.of(np.full(count, value)), Moments.of_small_sample([value] * count)):
        assert (moments.mean, moments.standard_deviation) == (value, 0.0)
        assert (moments.skewness, moments.kurtosis) == (None, None)


def test_values_near_the_largest_double_do_not_overflow() -> None:
    """The sum exceeds the largest double, the mean does not."""
    moments = Moments.of(array(1.7e308, 1.7e308, -1.7e308))

    assert moments.mean == 1.7e308 / 3
    assert Moments.of(array(1.7e308, 1.7e308)).sum is None
    assert Moments.of(array(LARGEST, -LARGEST)).standard_deviation == LARGEST


def test_many_values_in_many_blocks_are_as_exact_as_three() -> None:
    """Blocks are added exactly. The test uses integers, because fractions take too long."""
    values = np.random.default_rng(7).normal(size=100_000) - 1e15
    ratios = [value.as_integer_ratio() for value in values.tolist()]
    unit = max(denominator for _, denominator in ratios)
    scaled = [numerator * (unit // denominator) for numerator, denominator in ratios]
    count, total = len(scaled), sum(scaled)
    second, third, fourth = (sum((count * value - total) ** power for value in scaled) for power in (2, 3, 4))
    variance = Fraction(second, count * (count * unit) ** 2)

    moments = Moments.of(values)

    assert moments.count > BLOCK
    assert moments.mean == float(Fraction(total, count * unit))
    assert moments.standard_deviation == nearest_root(variance)
    assert moments.skewness == nearest_root(Fraction(count * third**2, second**3)) * (-1 if third < 0 else 1)
    assert moments.kurtosis == float(Fraction(count * fourth, second**2) - 3)


def test_values_of_very_different_size_all_count() -> None:
    """The sample contains all powers of ten that are doubles, in one block and in several."""
    values = array(*(sign * 10.0**power for power in range(-308, 309) for sign in (1, -0.7)))

    _check(values)

    moments, many = Moments.of(values), Moments.of(np.tile(values, 27))
    assert many.count > BLOCK
    assert (many.mean, many.standard_deviation) == (moments.mean, moments.standard_deviation)
    assert (many.skewness, many.kurtosis) == (moments.skewness, moments.kurtosis)


def test_few_values_of_very_different_size_take_little_time() -> None:
    """The function computes such samples on its event loop. A matrix for each range of exponents took 60 times."""
    random = Random(1)
    similar = [random.random() + 1.0 for _ in range(MAX_FEW)]
    different = [value * 2.0 ** random.randint(-1000, 1000) for value in similar]

    assert _processor_seconds(different) < 30 * _processor_seconds(similar)
