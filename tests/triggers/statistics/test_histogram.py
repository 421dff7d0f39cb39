"""Histograms follow NumPy's rule and exist for all finite values."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.documents import Histogram
from tests.triggers.statistics.exact import LARGEST, SMALLEST, array
from triggers.statistics.distribution import MAX_BINS, histogram, quantile

finite = st.floats(allow_nan=False, allow_infinity=False)


def _histogram(values: "np.typing.NDArray[np.float64]") -> Histogram:
    sorted_values = np.sort(values)
    return histogram(sorted_values, quantile(sorted_values, 25), quantile(sorted_values, 75))


@given(st.lists(finite, min_size=1, max_size=300))
@example([-LARGEST, LARGEST])
@example([SMALLEST, 0.0, -SMALLEST])
@example([LARGEST, SMALLEST, 1.0] * 40)
@example([1.0, 1.0 + 2**-52] * 100)
def test_every_value_is_counted_in_the_bin_that_contains_it(values: list[float]) -> None:
    """Each bin contains its lower edge, and the last one its upper edge too."""
    result = _histogram(array(*values))

    assert (result.edges[0], result.edges[-1]) == (min(values), max(values))
    assert len(result.edges) == len(result.counts) + 1 <= MAX_BINS + 1
    last = len(result.counts) - 1
    for number, ((low, high), count) in enumerate(zip(pairwise(result.edges), result.counts, strict=True)):
        assert low < high or len(set(values)) == 1
        assert count == sum(low <= value < high or (number == last and value == high) for value in values)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 50, 100, 1_000, 3_000])
@pytest.mark.parametrize("kind", ["normal", "uniform", "exponential"])
def test_the_bins_are_those_of_numpy(kind: str, count: int) -> None:
    """The rule is `auto`: the larger number of Sturges and of Freedman and Diaconis."""
    values = getattr(np.random.default_rng(count), kind)(size=count)
    counts, edges = np.histogram(values, "auto")

    result = _histogram(values)

    np.testing.assert_allclose(result.edges, edges, rtol=0, atol=1e-14 * np.abs(edges).max())
    assert result.counts == tuple(counts)


def test_if_half_of_the_values_are_equal_the_square_root_of_their_number_limits_the_bins() -> None:
    """The rule of Freedman and Diaconis divides by the interquartile range, which is zero here."""
    values = np.concatenate((np.zeros(150), np.linspace(0.0, 1.0, 50)))

    result = _histogram(values)

    assert len(result.counts) == len(np.histogram_bin_edges(values, "auto")) - 1


def test_the_number_of_bins_is_limited() -> None:
    """The rule returns hundreds of bins for a million values."""
    values = np.random.default_rng(1).normal(size=1_000_000)

    result = _histogram(values)

    assert len(result.counts) == MAX_BINS
    assert result.counts == tuple(np.histogram(values, np.array(result.edges))[0])


def test_equal_values_are_in_one_bin_of_width_zero() -> None:
    """Both edges are the value."""
    assert _histogram(array(0.1, 0.1, 0.1)) == Histogram((0.1, 0.1), (3,))
