"""Quantiles by definition 7 of Hyndman and Fan (1996), the default of NumPy, R and Excel.

The quantile of share p is the value at position (n - 1) * p of the n sorted values, counted from 0. Between two
positions, the quantile is interpolated linearly.

Note: in doubles, `high - low` overflows for huge values. With a rounded share, the quantile can lie outside the
interval from `low` to `high`. The interpolation therefore uses integers and rounds once.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

SortedValues = Sequence[float] | npt.NDArray[np.float64]
"""Values in ascending order."""


def quantile(sorted_values: SortedValues, percent: int) -> float:
    """Return the quantile at `percent`."""
    position, fraction = divmod((len(sorted_values) - 1) * percent, 100)
    if not fraction:
        return float(sorted_values[position]) + 0.0  # turns -0.0 into 0.0, because sorting does not order the two zeros
    low, low_unit = float(sorted_values[position]).as_integer_ratio()
    high, high_unit = float(sorted_values[position + 1]).as_integer_ratio()
    return (low * high_unit * (100 - fraction) + high * low_unit * fraction) / (100 * low_unit * high_unit)
