"""The statistics of sorted values, and their quantile sketch. `moments` has the formulas of the power sums."""

from bisect import bisect_left, bisect_right
from itertools import pairwise
from math import isqrt

import numpy as np
import numpy.typing as npt

from storage.documents import Histogram, Statistics, quantile_sketch
from storage.documents.quantile_sketch import QuantileSketch
from triggers.statistics.moments import BLOCK, Moments
from triggers.statistics.rounded_moments import RoundedMoments

SortedValues = list[float] | npt.NDArray[np.float64]
"""Values in ascending order."""

AnyMoments = Moments | RoundedMoments

MAX_BINS = 100

_CUBES = tuple(number**3 for number in range(MAX_BINS + 1))


def statistics_of(values: SortedValues, moments: AnyMoments) -> Statistics:
    """Return all statistics of sorted values with these moments."""
    lower_quartile, upper_quartile = quantile(values, 25), quantile(values, 75)
    return Statistics(
        count=moments.count,
        mean=moments.mean,
        standard_deviation=moments.standard_deviation,
        minimum=quantile(values, 0),
        maximum=quantile(values, 100),
        sum=moments.sum,
        sample_standard_deviation=moments.sample_standard_deviation,
        percentile_1=quantile(values, 1),
        percentile_5=quantile(values, 5),
        lower_quartile=lower_quartile,
        median=quantile(values, 50),
        upper_quartile=upper_quartile,
        percentile_95=quantile(values, 95),
        percentile_99=quantile(values, 99),
        skewness=moments.skewness,
        kurtosis=moments.kurtosis,
        histogram=histogram(values, lower_quartile, upper_quartile),
    )


def quantile(sorted_values: SortedValues, percent: int) -> float:
    """Return the quantile at `percent`, by definition 7 of Hyndman and Fan (1996), the default of NumPy, R and Excel.

    The quantile of share p is the value at position (n - 1) * p of the n sorted values, counted from 0. Between two
    positions, the quantile is interpolated linearly.

    Note: in doubles, `high - low` overflows for huge values. With a rounded share, the quantile can lie outside the
    interval from `low` to `high`. The interpolation therefore uses integers and rounds once.
    """
    position, fraction = divmod((len(sorted_values) - 1) * percent, 100)
    if not fraction:
        return float(sorted_values[position]) + 0.0  # turns -0.0 into 0.0, because sorting does not order the zeros
    low, low_unit = float(sorted_values[position]).as_integer_ratio()
    high, high_unit = float(sorted_values[position + 1]).as_integer_ratio()
    return (low * high_unit * (100 - fraction) + high * low_unit * fraction) / (100 * low_unit * high_unit)


def histogram(sorted_values: SortedValues, lower_quartile: float, upper_quartile: float) -> Histogram:
    """Return the histogram of sorted values. Its bins have equal widths, from the smallest value to the largest.

    If all values are equal, the histogram has one bin of width 0. Otherwise the number of bins follows NumPy's rule
    `auto`: the larger of the numbers by Sturges (1926) and by Freedman and Diaconis (1981). The Freedman-Diaconis
    number is limited to twice the square root of the number of values, rounded up. `MAX_BINS` limits both numbers,
    because a result must be a small document.

    Note: if edges were computed in doubles, the width could overflow. Two edges can also be so close that no double
    lies between them. This function therefore computes the edges in integers and merges equal edges.
    """
    count = len(sorted_values)
    (minimum, maximum, lower, upper), unit = _to_integers(
        float(sorted_values[0]), float(sorted_values[-1]), lower_quartile, upper_quartile
    )
    width = maximum - minimum
    if not width:
        return Histogram((minimum / unit, maximum / unit), (count,))
    bins = _bin_count(count, width, upper - lower)
    divisor = unit * bins
    edges = list(dict.fromkeys([edge / divisor for edge in range(minimum * bins, maximum * bins + 1, width)]))
    positions = [0, *[bisect_left(sorted_values, edge) for edge in edges[1:-1]], count]
    return Histogram(tuple(edges), tuple(end - start for start, end in pairwise(positions)))


def sketch(sorted_values: SortedValues) -> bytes:
    """Return the stored quantile sketch of sorted values. Summaries of many results merge such sketches."""
    if not isinstance(sorted_values, np.ndarray):
        return quantile_sketch.encode_values(sorted_values)
    found = QuantileSketch()
    zeros_start, zeros_end = bisect_left(sorted_values, 0.0), bisect_right(sorted_values, 0.0)
    found.zeros = zeros_end - zeros_start
    for bins, values in (found.negative, sorted_values[:zeros_start]), (found.positive, sorted_values[zeros_end:]):
        for start in range(0, values.size, BLOCK):
            logarithms = np.log2(np.abs(values[start : start + BLOCK]))
            keys = np.ceil(logarithms * quantile_sketch.BINS_PER_DOUBLING).astype(np.int32)
            ends = np.append(np.flatnonzero(np.diff(keys)), keys.size - 1)  # the last value of each bin
            for key, count in zip(keys[ends].tolist(), np.diff(ends, prepend=-1).tolist(), strict=True):
                bins[key] = bins.get(key, 0) + count
    return found.encode()


def _bin_count(count: int, width: int, interquartile_range: int) -> int:
    """Return the number of bins for `count` values. `width` is the largest value minus the smallest."""
    sturges = (count - 1).bit_length() + 1
    freedman_diaconis = isqrt(4 * count - 1) + 1
    if interquartile_range:
        # ceil(width * cbrt(count) / (2 * interquartile_range)): the smallest integer whose cube is large enough
        cube = -(-count * width**3 // (2 * interquartile_range) ** 3)
        freedman_diaconis = min(freedman_diaconis, bisect_left(_CUBES, cube))
    return min(max(sturges, freedman_diaconis), MAX_BINS)


def _to_integers(*values: float) -> tuple[list[int], int]:
    """Return the exact values as integers in a common unit, and the number of these units in 1."""
    ratios = [value.as_integer_ratio() for value in values]
    unit = max([denominator for _, denominator in ratios])  # all denominators are powers of two
    return [numerator * (unit // denominator) for numerator, denominator in ratios], unit
