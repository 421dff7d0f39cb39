"""The quantile sketch agrees with the `ddsketch` package, and keeps its bound when it is stored and merged."""

from math import isclose, isfinite

import numpy as np
import pytest
from ddsketch import DDSketch
from hypothesis import given
from hypothesis import strategies as st

from storage.documents.quantile_sketch import MAX_BINS, RELATIVE_ERROR, MergedSketch, QuantileSketch, encode_values
from triggers.statistics.distribution import sketch

PERCENTS = (0, 1, 5, 25, 50, 75, 95, 99, 100)
normal = st.floats(1e-300, 1e300) | st.floats(-1e300, -1e-300) | st.just(0.0)


def median(stored: bytes) -> float:
    """Return the median of a stored sketch."""
    return next(QuantileSketch.decode(stored).quantiles([50]))


@given(st.lists(normal, min_size=1, max_size=60), st.booleans())
def test_quantiles_agree_with_the_ddsketch_package(values: list[float], is_large: bool) -> None:
    """Both return the middle of the same bin. Percents of 101 values need no interpolation."""
    values = sorted(values[number % len(values)] for number in range(101))
    other = DDSketch(RELATIVE_ERROR)
    for value in values:
        other.add(value)

    found = QuantileSketch.decode(sketch(np.array(values) if is_large else values))

    for percent, quantile in zip(PERCENTS, found.quantiles(PERCENTS), strict=True):
        expected = other.get_quantile_value(percent / 100)
        assert expected is not None
        assert isclose(quantile, expected, rel_tol=1e-9)


@given(st.lists(st.lists(normal, min_size=1, max_size=30), min_size=1, max_size=8))
def test_the_order_and_the_parts_of_a_sum_make_no_difference(samples: list[list[float]]) -> None:
    """The sum of sketches is the sketch of all values."""
    whole = QuantileSketch.decode(encode_values(sorted(value for data in samples for value in data)))
    for order in (samples, samples[::-1]):
        total = MergedSketch()
        for data in order:
            total.add(encode_values(sorted(data)))

        assert total.sum() == whole
        assert QuantileSketch.decode(total.sum().encode()) == whole


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=300))
def test_a_large_sample_has_the_bins_of_a_small_one(values: list[float]) -> None:
    """A key per value and counts of keys are two forms of the same sketch."""
    values.sort()
    small, large = QuantileSketch.decode(encode_values(values)), QuantileSketch.decode(sketch(np.array(values)))

    assert large.zeros == small.zeros
    assert sum(large.negative.values()) == sum(small.negative.values())
    pairs = zip(large.quantiles(PERCENTS), small.quantiles(PERCENTS), strict=True)
    assert all(isclose(one, two, rel_tol=3 * RELATIVE_ERROR) or not isfinite(one) for one, two in pairs)


def test_a_sketch_with_too_many_bins_has_a_larger_error_and_says_so() -> None:
    """The bound holds for the error that the sketch states, also if sketches of different levels are merged."""
    values = np.sort(
        np.concatenate([10.0 ** np.linspace(-150, 150, 50_001), -(10.0 ** np.linspace(-150, 150, 50_000))])
    )
    total = MergedSketch()
    total.add(sketch(values[:50_000]))
    total.add(sketch(values[50_000:]))
    total.add(encode_values([1e100] * 100))

    found = QuantileSketch.decode(total.sum().encode())

    assert found.level > 0
    assert len(found.negative) + len(found.positive) <= MAX_BINS
    assert found.relative_error > 4 * RELATIVE_ERROR
    everything = np.sort(np.append(values, [1e100] * 100))
    for percent, quantile in zip(PERCENTS, found.quantiles(PERCENTS), strict=True):
        low, high = (np.quantile(everything, percent / 100, method=method) for method in ("lower", "higher"))
        error = found.relative_error * (1 + 1e-9)
        assert low - error * abs(low) <= quantile <= high + error * abs(high)


def test_a_sketch_counts_every_value() -> None:
    """Large samples are counted in blocks, and a bin can have values of several blocks."""
    values = np.sort(np.append(np.random.default_rng(13).normal(0, 3, 100_000), np.zeros(1_000)))

    found = QuantileSketch.decode(sketch(values))

    assert (sum(found.negative.values()), found.zeros, sum(found.positive.values())) == (
        (values < 0).sum(),
        1_000,
        (values > 0).sum(),
    )


@pytest.mark.parametrize(("values", "most"), [([20.0 + number / 100 for number in range(100)], 125), ([0.0], 25)])
def test_a_stored_sketch_of_100_similar_values_takes_a_byte_per_value(values: list[float], most: int) -> None:
    """A result has one sketch, so its size is part of the price of each sample."""
    assert len(encode_values(values)) <= most


def test_the_largest_and_the_smallest_doubles_have_bins() -> None:
    """Their bins begin and end at numbers that no double can hold."""
    assert median(encode_values([5e-324])) == 5e-324
    assert median(encode_values([-5e-324])) == -5e-324
    assert median(encode_values([1.7e308])) == pytest.approx(1.7e308, rel=RELATIVE_ERROR)
