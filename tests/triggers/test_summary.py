"""What a sample's statistics are, as a whole."""

import json
from dataclasses import asdict
from math import inf, nan
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.triggers.exact import array
from triggers.summary import summarize

FIXTURE = Path(__file__).parents[2] / "fixture"

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(arrays(np.float64, st.integers(1, 400), elements=finite), st.randoms())
def test_the_order_of_the_values_changes_no_bit(values: npt.NDArray[np.float64], random: Random) -> None:
    """Chunks may be put together in another way one day: the result must not tell."""
    shuffled = values.tolist()
    random.shuffle(shuffled)

    assert repr(summarize(array(*shuffled))) == repr(summarize(values))


def test_the_fixture_comes_out_as_published() -> None:
    """What `fixture/result.json` promises is what the arithmetic gives, to the last digit."""
    values = json.loads((FIXTURE / "sample.json").read_text())["data"]
    expected = json.loads((FIXTURE / "result.json").read_text())

    statistics = summarize(array(*values))

    published = json.loads(json.dumps(asdict(statistics)))  # tuples become lists
    assert published == {name: expected[name] for name in published}


@given(arrays(np.float64, st.integers(1, 300), elements=finite))
def test_figures_are_in_the_order_that_their_names_say(values: npt.NDArray[np.float64]) -> None:
    """From the minimum to the maximum; and the mean is between them."""
    names = "minimum percentile_1 percentile_5 lower_quartile median upper_quartile percentile_95 percentile_99 maximum"

    statistics = summarize(values)

    figures = [getattr(statistics, name) for name in names.split()]
    assert figures == sorted(figures)
    assert (statistics.minimum, statistics.maximum) == (values.min(), values.max())
    assert statistics.minimum <= statistics.mean <= statistics.maximum
    assert statistics.histogram is not None
    assert sum(statistics.histogram.counts) == statistics.count == values.size


def test_the_values_are_left_as_they_are() -> None:
    """Whoever asks for statistics may still want their order."""
    values = array(3.0, 1.0, 2.0)

    summarize(values)

    assert values.tolist() == [3.0, 1.0, 2.0]


@pytest.mark.parametrize("values", [[], [1.0, nan], [inf, 1.0], [-inf, inf]])
def test_what_has_no_statistics_is_refused(values: list[float]) -> None:
    """A caller that lets these through has not validated its sample."""
    with pytest.raises(ValueError, match="expected"):
        summarize(array(*values))
