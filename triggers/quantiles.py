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
    (low, high), unit = whole(float(ordered[place]), float(ordered[place + 1]))
    return (low * (100 - beyond) + high * beyond) / (100 * unit)


def whole(*values: float) -> tuple[list[int], int]:
    """Return the values as whole numbers, exactly, and how many of their unit make up one."""
    ratios = [value.as_integer_ratio() for value in values]
    unit = max([denominator for _, denominator in ratios])  # all of them are powers of two
    return [numerator * (unit // denominator) for numerator, denominator in ratios], unit
