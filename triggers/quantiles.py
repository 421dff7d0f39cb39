"""Quantiles: the numbers below which a share of the values lies.

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
    if not beyond:
        return float(ordered[place]) + 0.0  # -0.0 and 0.0 are equal; each plus 0.0 is 0.0
    low, low_unit = float(ordered[place]).as_integer_ratio()
    high, high_unit = float(ordered[place + 1]).as_integer_ratio()
    return (low * high_unit * (100 - beyond) + high * low_unit * beyond) / (100 * low_unit * high_unit)
