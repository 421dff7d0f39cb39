"""The histogram of a sample: counts in bins of equal width, from the smallest value to the largest.

The number of bins follows NumPy's rule `auto`: the larger of the numbers by Sturges (1926) and by Freedman and Diaconis
(1981). The Freedman-Diaconis number is limited to twice the square root of the number of values, rounded up. `MAX_BINS`
limits both numbers, because a result must be a small document.

Note: if edges were computed in doubles, the width could overflow. Two edges can also be so close that no double lies
between them. This module therefore computes the edges in integers and merges equal edges.
"""

from bisect import bisect_left
from itertools import pairwise
from math import isqrt

from storage.documents import Histogram
from triggers.quantiles import SortedValues

MAX_BINS = 100

_CUBES = tuple(number**3 for number in range(MAX_BINS + 1))


def histogram(sorted_values: SortedValues, lower_quartile: float, upper_quartile: float) -> Histogram:
    """Return the histogram of sorted values. If all values are equal, it has one bin of width 0."""
    count = len(sorted_values)
    (minimum, maximum, lower, upper), unit = _to_integers(
        float(sorted_values[0]), float(sorted_values[-1]), lower_quartile, upper_quartile
    )
    width = maximum - minimum
    bins = _bin_count(count, width, upper - lower) if width else 1
    edges = [(minimum * bins + width * number) / (unit * bins) for number in range(bins + 1)]
    if width:
        edges = list(dict.fromkeys(edges))
    positions = [0, *(bisect_left(sorted_values, edge) for edge in edges[1:-1]), count]
    return Histogram(tuple(edges), tuple(end - start for start, end in pairwise(positions)))


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
