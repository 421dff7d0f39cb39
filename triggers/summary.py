"""What is computed of a sample's values: the definitions are in moments, quantiles and histogram."""

import numpy as np

from storage.documents import Statistics
from triggers.histogram import histogram
from triggers.moments import Moments, Vector
from triggers.quantiles import Ordered, quantile

FEW = 200
"""How many values are few: up to so many, Python's lists and integers are quicker than NumPy's calls."""


def summarize(values: Vector) -> Statistics:
    """Return the statistics of at least one finite value, each figure the double nearest to the true one."""
    if not values.size:
        raise ValueError("expected at least one value")
    if not np.isfinite(values).all():
        raise ValueError("expected finite values")
    ordered: Ordered
    if values.size <= FEW:
        ordered = few = sorted(values.tolist())
        moments = Moments.of_few(few)
    else:
        ordered = many = np.sort(values)
        moments = Moments.of(many)
    lower_quartile, upper_quartile = quantile(ordered, 25), quantile(ordered, 75)
    return Statistics(
        count=moments.count,
        sum=moments.sum,
        mean=moments.mean,
        standard_deviation=moments.standard_deviation,
        sample_standard_deviation=moments.sample_standard_deviation,
        minimum=quantile(ordered, 0),
        percentile_1=quantile(ordered, 1),
        percentile_5=quantile(ordered, 5),
        lower_quartile=lower_quartile,
        median=quantile(ordered, 50),
        upper_quartile=upper_quartile,
        percentile_95=quantile(ordered, 95),
        percentile_99=quantile(ordered, 99),
        maximum=quantile(ordered, 100),
        skewness=moments.skewness,
        kurtosis=moments.kurtosis,
        histogram=histogram(ordered, lower_quartile, upper_quartile),
    )
