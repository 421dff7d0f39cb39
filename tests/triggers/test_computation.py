"""The statistics of a sample as a whole."""

import json
import sys
from datetime import UTC, datetime, timedelta
from math import inf, isfinite, nan
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from msgspec.structs import replace

from storage.documents import Status
from tests.received import received_sample
from tests.triggers.statistics.exact import array
from triggers.computation import compute, summarize

FIXTURE = Path(__file__).parents[2] / "fixture"

MAX = sys.float_info.max
finite = st.floats(allow_nan=False, allow_infinity=False)


@given(arrays(np.float64, st.integers(1, 400), elements=finite), st.randoms())
def test_statistics_do_not_depend_on_the_order_of_the_values(values: npt.NDArray[np.float64], random: Random) -> None:
    """The representations are equal, so all bits are."""
    shuffled = values.tolist()
    random.shuffle(shuffled)

    assert repr(summarize(array(*shuffled))) == repr(summarize(values))


@given(arrays(np.float64, st.integers(1, 50), elements=finite | st.sampled_from([-MAX, -MAX / 2, MAX / 2, MAX])))
def test_no_statistic_is_infinite(values: npt.NDArray[np.float64]) -> None:
    """A statistic that exceeds the largest double is None, not infinite."""
    numbers = [value for value in msgspec.structs.astuple(summarize(values)) if isinstance(value, float)]

    assert all(map(isfinite, numbers))


def test_the_fixture_has_the_published_statistics() -> None:
    """All digits in `fixture/result.json` are reproduced."""
    values = json.loads((FIXTURE / "sample.json").read_text())["data"]
    expected = json.loads((FIXTURE / "result.json").read_text())

    statistics = summarize(array(*values))

    published = json.loads(msgspec.json.encode(statistics))
    missing = {name: value for name, value in published.items() if name not in expected}
    assert not missing, f"add to fixture/result.json: {json.dumps(missing)}"
    assert published == {name: expected[name] for name in published}


@given(arrays(np.float64, st.integers(1, 300), elements=finite))
def test_quantiles_are_in_ascending_order(values: npt.NDArray[np.float64]) -> None:
    """They range from the minimum to the maximum, and the mean is in this range."""
    names = "minimum percentile_1 percentile_5 lower_quartile median upper_quartile percentile_95 percentile_99 maximum"

    statistics = summarize(values)

    quantiles = [getattr(statistics, name) for name in names.split()]
    assert quantiles == sorted(quantiles)
    assert (statistics.minimum, statistics.maximum) == (values.min(), values.max())
    assert statistics.minimum <= statistics.mean <= statistics.maximum
    assert statistics.histogram is not None
    assert sum(statistics.histogram.counts) == statistics.count == values.size


@pytest.mark.parametrize("values", [[], [1.0, nan], [inf, 1.0], [-inf, inf]])
def test_values_without_statistics_are_refused(values: list[float]) -> None:
    """Validation rejects such samples, so this is an error of the caller."""
    with pytest.raises(ValueError, match="expected"):
        summarize(array(*values))


@pytest.mark.parametrize("data", ["[1]", "[]"])
def test_a_result_has_the_labels_the_correction_and_the_expiry_of_its_header(data: str) -> None:
    """Labels can come from the request instead of the sample. The result can be kept longer than the sample."""
    raw = f'{{"time_stamp": "2019-05-01T06:00:00Z", "data": {data}}}'.encode()
    received = received_sample(raw, submitter="tenant", default_labels={"site": "bern"}).header
    now = datetime.now(UTC)
    later = now + timedelta(days=9)
    header = replace(received, superseded_by="a later sample", expire_at=now, result_expire_at=later)

    result = compute(header, now)

    assert result.status is (Status.SUPERSEDED if data == "[1]" else Status.FAILED)
    assert (result.labels, result.superseded_by, result.expire_at) == ({"site": "bern"}, "a later sample", later)
