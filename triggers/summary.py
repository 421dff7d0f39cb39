"""What is computed of a sample's values: the definitions are in moments, quantiles and histogram."""

from math import isfinite

import numpy as np

from documents import Statistics
from triggers.histogram import histogram
from triggers.moments import Moments, Vector
from triggers.quantiles import quantile


def summarise(values: Vector) -> Statistics:
    """Return the statistics of at least one finite value, each figure the double nearest to the true one."""
    if not values.size:
        raise ValueError("expected at least one value")
    ordered = np.sort(values)
    minimum, maximum = float(ordered[0]), float(ordered[-1])
    if not (isfinite(minimum) and isfinite(maximum)):  # NaN is sorted to the end
        raise ValueError("expected finite values")
    moments = Moments.of(ordered)
    lower_quartile, upper_quartile = quantile(ordered, 25), quantile(ordered, 75)
    return Statistics(
        count=moments.count,
        sum=moments.sum,
        mean=moments.mean,
        standard_deviation=moments.standard_deviation,
        sample_standard_deviation=moments.sample_standard_deviation,
        minimum=minimum + 0.0,  # the smallest may be either of -0.0 and 0.0; each plus 0.0 is 0.0
        percentile_1=quantile(ordered, 1),
        percentile_5=quantile(ordered, 5),
        lower_quartile=lower_quartile,
        median=quantile(ordered, 50),
        upper_quartile=upper_quartile,
        percentile_95=quantile(ordered, 95),
        percentile_99=quantile(ordered, 99),
        maximum=maximum + 0.0,
        skewness=moments.skewness,
        kurtosis=moments.kurtosis,
        histogram=histogram(ordered, lower_quartile, upper_quartile),
    )
