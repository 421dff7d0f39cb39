"""The comparison of merged quantiles with those of numpy."""

import numpy as np
import numpy.typing as npt
import pytest

from storage.rollups.merged_statistics import MergedStatistics


def assert_close(found: MergedStatistics, values: npt.NDArray[np.float64]) -> None:
    """Compare the quantiles with those of numpy. Each lies between two values, which have the stated error."""
    quantiles = found.quantiles
    assert quantiles is not None
    for (name, quantile), percent in zip(quantiles.values.items(), (1, 5, 25, 50, 75, 95, 99), strict=True):
        low, high = (float(np.quantile(values, percent / 100, method=method)) for method in ("lower", "higher"))
        share = (values.size - 1) * percent % 100 / 100
        exact = low * (1 - share) + high * share
        bound = quantiles.relative_error * (abs(low) * (1 - share) + abs(high) * share)
        assert quantile == pytest.approx(exact, rel=1e-9, abs=bound * (1 + 1e-9) + 5e-324), name
