"""The statistics of a sample's values. `moments` and `distribution` compute them."""

from collections.abc import Callable
from math import isfinite

from storage.documents import Statistics
from triggers.distribution import SortedValues, histogram, quantile
from triggers.moments import Moments, Vector

MAX_SMALL_SAMPLE = 200
"""Up to this number of values, Python's lists and integers are faster than NumPy."""


def summarize(values: Vector, check: Callable[[], None] = lambda: None) -> Statistics:
    """Return the statistics of at least one finite value. Each statistic is the double nearest to the exact value.

    Sorts `values` in place if they are many, because a copy of them could exceed the memory of the process. `check` is
    called between steps, and may raise an error.

    Raises `ValueError` if `values` is empty or contains an infinite value or NaN.
    """
    if not values.size:
        raise ValueError("expected at least one value, got none")
    if not (isfinite(values.min()) and isfinite(values.max())):  # NaN is the minimum of values that contain NaN
        raise ValueError("expected finite values, got an infinite value or NaN")
    sorted_values: SortedValues
    if values.size <= MAX_SMALL_SAMPLE:
        sorted_values = small = sorted(values.tolist())
        moments = Moments.of_small_sample(small)
    else:
        values.sort()
        sorted_values = values
        moments = Moments.of(values, check)
    lower_quartile, upper_quartile = quantile(sorted_values, 25), quantile(sorted_values, 75)
    return Statistics(
        count=moments.count,
        mean=moments.mean,
        standard_deviation=moments.standard_deviation,
        minimum=quantile(sorted_values, 0),
        maximum=quantile(sorted_values, 100),
        sum=moments.sum,
        sample_standard_deviation=moments.sample_standard_deviation,
        percentile_1=quantile(sorted_values, 1),
        percentile_5=quantile(sorted_values, 5),
        lower_quartile=lower_quartile,
        median=quantile(sorted_values, 50),
        upper_quartile=upper_quartile,
        percentile_95=quantile(sorted_values, 95),
        percentile_99=quantile(sorted_values, 99),
        skewness=moments.skewness,
        kurtosis=moments.kurtosis,
        histogram=histogram(sorted_values, lower_quartile, upper_quartile),
    )
