"""The merged statistics of many results equal the statistics of all their values."""

import math
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.rollups.merged_statistics import MergedStatistics, ResultStatistics
from tests.storage.rollups.quantile_check import assert_close
from triggers.computation import summarize
from triggers.statistics.distribution import sketch

LARGEST = sys.float_info.max
finite = st.floats(allow_nan=False, allow_infinity=False)
ordinary = st.floats(-1e6, 1e6)


def merged(samples: list[list[float]], *, is_finished: bool = True) -> MergedStatistics:
    """Merge the statistics that the function computes for each sample."""
    parts = MergedStatistics()
    for data in samples:
        of = summarize(np.array(data))
        statistics = ResultStatistics(of.count, of.mean, of.standard_deviation, of.minimum, of.maximum)
        parts.add(statistics, sketch(sorted(data)))
    if is_finished:
        parts.finish()
    return parts


def exact(samples: list[list[float]]) -> tuple[Fraction, float]:
    """Return the exact mean of all values, and their standard deviation with more digits than a double has."""
    values = [Fraction(value) for data in samples for value in data]
    mean = sum(values, Fraction()) / len(values)
    variance = sum(((value - mean) ** 2 for value in values), Fraction()) / len(values)
    # The scale makes the integer square root more precise than a double.
    scale = 1 << 2400
    return mean, math.isqrt(int(variance * scale * scale)) / scale


@given(st.lists(st.lists(ordinary, min_size=1, max_size=20), min_size=1, max_size=20))
def test_merged_statistics_equal_those_of_all_values_together(samples: list[list[float]]) -> None:
    """They agree to twelve digits. The deviation of numpy is 0 for values below 1e-162, whose squares underflow."""
    together = np.concatenate([np.array(data) for data in samples])
    mean, standard_deviation = exact(samples)

    found = merged(samples)

    assert (found.results, found.count) == (len(samples), together.size)
    assert (found.minimum, found.maximum) == (together.min(), together.max())
    scale = float(np.abs(together).max())
    assert found.mean() == pytest.approx(float(mean), rel=1e-12, abs=1e-15 * scale)
    assert found.standard_deviation() == pytest.approx(standard_deviation, rel=1e-12, abs=1e-15 * scale)


@pytest.mark.parametrize("offset", [0.0, 1e9, 1e15, -1e15])
@given(st.lists(st.lists(st.integers(-1000, 1000), min_size=1, max_size=20), min_size=1, max_size=20))
def test_an_offset_adds_only_the_rounding_of_each_mean(offset: float, samples: list[list[int]]) -> None:
    """This holds for values far from zero too."""
    moved = [[offset + value for value in data] for data in samples]
    mean, standard_deviation = exact(moved)

    found = merged(moved)

    rounding = math.ulp(abs(offset) + 1000) / 2
    assert abs(Fraction(found.mean()) - mean) <= 2 * rounding
    assert abs(found.standard_deviation() - standard_deviation) <= rounding + 1e-12 * standard_deviation


@given(st.lists(st.lists(finite, min_size=1, max_size=5), min_size=1, max_size=10))
def test_finite_values_have_finite_statistics(samples: list[list[float]]) -> None:
    """This holds from the smallest double to the largest."""
    mean, standard_deviation = exact(samples)

    found = merged(samples)

    rounding = max(math.ulp(data) for sample in samples for data in sample)
    assert abs(Fraction(found.mean()) - mean) <= 2 * Fraction(rounding)
    assert math.isfinite(found.standard_deviation())
    assert found.standard_deviation() == pytest.approx(standard_deviation, rel=1e-12, abs=2 * rounding)


def test_the_largest_doubles_do_not_overflow() -> None:
    """Their squares and sums overflow a double, but their mean and standard deviation do not."""
    found = merged([[LARGEST, -LARGEST], [LARGEST], [-LARGEST]] * 1000)

    assert (found.mean(), found.standard_deviation()) == (0.0, LARGEST)


def test_equal_values_have_a_standard_deviation_of_zero() -> None:
    """The result is exactly 0, although the mean of each result is rounded."""
    found = merged([[0.1] * 3, [0.1], [0.1] * 7])

    assert (found.mean(), found.standard_deviation()) == (0.1, 0.0)


@given(st.lists(st.lists(ordinary | st.integers(-3, 3).map(float), min_size=1, max_size=20), min_size=1, max_size=20))
def test_merged_quantiles_have_the_stated_relative_error(samples: list[list[float]]) -> None:
    """Also for negative values, zeros, and quantiles between a negative and a positive value."""
    found = merged(samples)

    assert_close(found, np.concatenate([np.array(data) for data in samples]))
    assert found.quantiles is not None
    assert found.quantiles.relative_error == pytest.approx(0.01)


@given(st.lists(st.lists(finite, min_size=1, max_size=20), min_size=1, max_size=10))
def test_merged_quantiles_cover_all_doubles(samples: list[list[float]]) -> None:
    """Quantiles of the largest doubles are finite, and those of the smallest are not zero."""
    found = merged(samples)

    assert_close(found, np.concatenate([np.array(data) for data in samples]))


def test_merged_quantiles_of_large_and_small_samples_agree_with_numpy() -> None:
    """A sketch of many values has counts, and one of few has a key per value. Many sketches are merged in batches."""
    random = np.random.default_rng(13)
    samples = [random.normal(scale, scale, size).tolist() for scale, size in [(20, 5_000), (3, 700)] + [(5, 40)] * 300]

    assert_close(merged(samples), np.concatenate([np.array(data) for data in samples]))


def test_equal_values_have_exact_quantiles() -> None:
    """They are not smaller than the minimum and not larger than the maximum."""
    found = merged([[0.1] * 3, [0.1]])

    assert found.quantiles is not None
    assert set(found.quantiles.values.values()) == {0.1}


def test_a_result_without_a_sketch_leaves_no_quantiles() -> None:
    """Quantiles of the other results would be those of other values."""
    found = MergedStatistics()
    found.add(ResultStatistics(1, 1.0, 0.0, 1.0, 1.0), sketch([1.0]))
    found.add(ResultStatistics(1, 1.0, 0.0, 1.0, 1.0), None)
    found.finish()

    assert (found.quantiles, found.results_without_sketch) == (None, 1)


@given(st.lists(st.lists(finite, min_size=1, max_size=5), min_size=1, max_size=10), st.data())
def test_parts_merge_to_the_same_statistics_in_any_order(samples: list[list[float]], data: st.DataObject) -> None:
    """This holds for parts that were stored too."""
    total = MergedStatistics()
    for part in data.draw(st.permutations([samples[: len(samples) // 2], samples[len(samples) // 2 :]])):
        stored = merged(data.draw(st.permutations(part)), is_finished=False).encode()
        if data.draw(st.booleans()):
            total.merge_stored(stored)
        else:
            total.merge(MergedStatistics.decode(stored))
    total.finish()

    found = merged(samples)

    for each in (total, found):
        assert (each.results, each.count, each.minimum, each.maximum) == (
            len(samples), sum(map(len, samples)), min(map(min, samples)), max(map(max, samples))
        )  # fmt: skip
    assert (total.mean(), total.standard_deviation()) == (found.mean(), found.standard_deviation())
    assert total.quantiles == found.quantiles
