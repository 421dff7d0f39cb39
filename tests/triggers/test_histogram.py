"""Histograms: their rule is NumPy's, and nothing that a sample may hold makes them fail."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.documents import Histogram
from tests.triggers.exact import LARGEST, SMALLEST, array
from triggers.histogram import MAX_BINS, histogram
from triggers.quantiles import quantile

finite = st.floats(allow_nan=False, allow_infinity=False)


def _histogram(values: "np.typing.NDArray[np.float64]") -> Histogram:
    ordered = np.sort(values)
    return histogram(ordered, quantile(ordered, 25), quantile(ordered, 75))


@given(st.lists(finite, min_size=1, max_size=300))
@example([-LARGEST, LARGEST])
@example([SMALLEST, 0.0, -SMALLEST])
@example([LARGEST, SMALLEST, 1.0] * 40)
@example([1.0, 1.0 + 2**-52] * 100)
def test_every_value_is_in_the_bin_whose_edges_say_so(values: list[float]) -> None:
    """A bin holds its lower edge; the last one its upper edge too."""
    found = _histogram(array(*values))

    assert (found.edges[0], found.edges[-1]) == (min(values), max(values))
    assert len(found.edges) == len(found.counts) + 1 <= MAX_BINS + 1
    last = len(found.counts) - 1
    for number, ((low, high), count) in enumerate(zip(pairwise(found.edges), found.counts, strict=True)):
        assert low < high or len(set(values)) == 1
        assert count == sum(low <= value < high or (number == last and value == high) for value in values)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 50, 100, 1_000, 3_000])
@pytest.mark.parametrize("kind", ["normal", "uniform", "exponential"])
def test_the_bins_are_those_of_numpy(kind: str, count: int) -> None:
    """Its rule `auto`: Sturges, or Freedman and Diaconis where that says more."""
    values = getattr(np.random.default_rng(count), kind)(size=count)
    counts, edges = np.histogram(values, "auto")

    found = _histogram(values)

    np.testing.assert_allclose(found.edges, edges, rtol=0, atol=1e-14 * np.abs(edges).max())
    assert found.counts == tuple(counts)


def test_where_half_of_the_values_are_equal_the_root_of_their_number_decides() -> None:
    """The rule of Freedman and Diaconis divides by the distance of the quartiles, which is nothing then."""
    values = np.concatenate((np.zeros(150), np.linspace(0.0, 1.0, 50)))

    found = _histogram(values)

    assert len(found.counts) == len(np.histogram_bin_edges(values, "auto")) - 1


def test_there_are_never_more_bins_than_a_result_has_room_for() -> None:
    """A million values ask for hundreds of bins; equal edges never come of it."""
    values = np.random.default_rng(1).normal(size=1_000_000)

    found = _histogram(values)

    assert len(found.counts) == MAX_BINS
    assert found.counts == tuple(np.histogram(values, np.array(found.edges))[0])


def test_equal_values_are_in_one_bin_without_a_width() -> None:
    """It says what is there: all at one place."""
    assert _histogram(array(0.1, 0.1, 0.1)) == Histogram((0.1, 0.1), (3,))
