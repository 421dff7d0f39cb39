"""The arithmetic against exact rational numbers: no tolerance is wider than the rounding of a double."""

import json
from dataclasses import asdict
from fractions import Fraction
from math import inf, isqrt, nan, nextafter
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from triggers.moments import BLOCK
from triggers.summary import summarise

LARGEST = 1.7976931348623157e308
SMALLEST = 5e-324
FIXTURE = Path(__file__).parents[2] / "fixture"

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


def _array(*values: float) -> npt.NDArray[np.float64]:
    return np.array(values, dtype=np.float64)


def _nearest_root(square: Fraction) -> float:
    """Return the double nearest to the square root of `square`: the neighbour that bounds it best."""
    guess = float(Fraction(isqrt(square.numerator * square.denominator << 4400), square.denominator << 2200))
    candidates = [nextafter(guess, 0.0), guess, nextafter(guess, LARGEST)]
    # The root lies above the midpoint of two neighbours exactly when its square lies above the midpoint's.
    low, high = candidates[0], candidates[1]
    if square > ((Fraction(low) + Fraction(high)) / 2) ** 2:
        low, high = candidates[1], candidates[2]
        return high if square > ((Fraction(low) + Fraction(high)) / 2) ** 2 else low
    return low


def _exact_mean_and_variance(values: npt.NDArray[np.float64]) -> tuple[Fraction, Fraction]:
    exact = [Fraction(value) for value in values.tolist()]
    mean = sum(exact, Fraction()) / len(exact)
    return mean, sum(((value - mean) ** 2 for value in exact), Fraction()) / len(exact)


@given(adversarial)
@example([0.1, 0.1, 0.1])
@example([LARGEST, LARGEST, -LARGEST])
@example([LARGEST, -LARGEST, 1e-300])
@example([1.0, -(2.0**-53) - 2.0**-103])  # the deviation lies a hair above the midpoint of two doubles
@example([SMALLEST, 0.0, -SMALLEST, 2 * SMALLEST])
@example([LARGEST, SMALLEST, 1.0, -1e-160])
@example([1e15, 1e15 + 1, 1e15 + 0.5])
def test_mean_and_deviation_are_the_doubles_nearest_to_the_exact_ones(values: list[float]) -> None:
    """Whatever finite doubles a sample holds, rational arithmetic rounded once gives the same bits."""
    mean, variance = _exact_mean_and_variance(_array(*values))

    statistics = summarise(_array(*values))

    assert statistics.mean == float(mean)
    assert statistics.standard_deviation == _nearest_root(variance)
    assert (statistics.count, statistics.minimum, statistics.maximum) == (
        len(values),
        min(values),
        max(values),
    )


@given(arrays(np.float64, st.integers(1, 400), elements=finite), st.randoms())
def test_the_order_of_the_values_changes_no_bit(values: npt.NDArray[np.float64], random: Random) -> None:
    """Chunks may be put together in another way one day: the result must not tell."""
    shuffled = values.tolist()
    random.shuffle(shuffled)

    assert repr(summarise(_array(*shuffled))) == repr(summarise(values))


def test_the_fixture_comes_out_as_published() -> None:
    """What `fixture/result.json` promises is what the arithmetic gives, to the last digit."""
    values = json.loads((FIXTURE / "sample.json").read_text())["data"]
    expected = json.loads((FIXTURE / "result.json").read_text())

    statistics = summarise(_array(*values))

    published = json.loads(json.dumps(asdict(statistics)))  # tuples become lists
    assert published == {name: expected[name] for name in published}


@pytest.mark.parametrize("value", [0.1, -0.1, 1e9 + 0.1, 1e15 + 0.3, LARGEST, -LARGEST, SMALLEST, 0.0, 1 / 3])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 1000])
def test_equal_values_deviate_by_exactly_nothing(value: float, count: int) -> None:
    """The textbook formula gives noise here, or the root of a negative number."""
    statistics = summarise(np.full(count, value))

    assert (statistics.mean, statistics.standard_deviation) == (value, 0.0)


def test_near_the_largest_double_nothing_overflows() -> None:
    """The sum is infinite as a double, the mean is not."""
    statistics = summarise(_array(1.7e308, 1.7e308, -1.7e308))

    assert statistics.mean == 1.7e308 / 3
    assert summarise(_array(LARGEST, -LARGEST)).standard_deviation == LARGEST


@pytest.mark.parametrize("offset", [1e9, -1e15])
def test_a_million_values_in_many_blocks_are_as_exact_as_three(offset: float) -> None:
    """Blocks are added up exactly; checked with integers, because a million fractions take too long."""
    values = np.random.default_rng(7).normal(size=1_000_000) + offset
    ratios = [value.as_integer_ratio() for value in values.tolist()]
    unit = max(denominator for _, denominator in ratios)
    scaled = [numerator * (unit // denominator) for numerator, denominator in ratios]
    total, squares = sum(scaled), sum(value * value for value in scaled)
    variance = Fraction(len(scaled) * squares - total * total, (len(scaled) * unit) ** 2)

    statistics = summarise(values)

    assert statistics.count > BLOCK
    assert statistics.mean == float(Fraction(total, len(scaled) * unit))
    assert statistics.standard_deviation == _nearest_root(variance)


def test_scales_that_have_nothing_in_common_are_each_counted() -> None:
    """Every power of ten that a double has, all in one sample and in the block after it."""
    values = np.array([sign * 10.0**power for power in range(-308, 309) for sign in (1, -0.7)] * 27)
    mean, variance = _exact_mean_and_variance(values[: 2 * 617])  # the period: the same mean and deviation

    statistics = summarise(values)

    assert statistics.count > BLOCK
    assert (statistics.mean, statistics.standard_deviation) == (float(mean), _nearest_root(variance))


def test_minimum_and_maximum_do_not_depend_on_which_zero_came_first() -> None:
    """-0.0 and 0.0 are equal, and a stored result must not differ between machines."""
    assert repr(summarise(_array(0.0, -0.0))) == repr(summarise(_array(-0.0, 0.0)))


@pytest.mark.parametrize("values", [[], [1.0, nan], [inf, 1.0], [-inf, inf]])
def test_what_has_no_statistics_is_refused(values: list[float]) -> None:
    """A caller that lets these through has not validated its sample."""
    with pytest.raises(ValueError, match="expected"):
        summarise(_array(*values))
