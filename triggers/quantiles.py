"""Numbers between two numbers, and quantiles: where a share of the values lies below.

The definition is number 7 of Hyndman and Fan (1996), the usual one of NumPy, R and Excel: of n values in their order
the quantile of share p is the one at place (n - 1) * p, counted from 0, and between two places it lies on the straight
line from one to the other. The trap is that line: `high - low` overflows where the values are huge, and a rounded share
may leave the interval. So the point is taken in whole numbers and rounded once.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ordered = Sequence[float] | npt.NDArray[np.float64]
"""Values in ascending order."""


def quantile(ordered: Ordered, percent: int) -> float:
    """Return the quantile below which `percent` of the values lie."""
    place, beyond = divmod((len(ordered) - 1) * percent, 100)
    low = float(ordered[place])
    return between(low, float(ordered[place + 1]), beyond, 100) if beyond else low + 0.0


def between(low: float, high: float, part: int, whole: int) -> float:
    """Return the double nearest to `low + (high - low) * part / whole`."""
    if low == high:
        return low + 0.0  # -0.0 and 0.0 are equal; each plus 0.0 is 0.0
    low_numerator, low_denominator = low.as_integer_ratio()
    high_numerator, high_denominator = high.as_integer_ratio()
    numerator = low_numerator * high_denominator * (whole - part) + high_numerator * low_denominator * part
    return numerator / (low_denominator * high_denominator * whole)
