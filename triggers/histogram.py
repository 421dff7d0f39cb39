"""How the values are spread: counts in bins of equal width, from the smallest value to the largest.

How many bins is decided as NumPy does it (`auto`): as many as the rule of Sturges (1926) says, or as the one of
Freedman and Diaconis (1981) where that is more, but by the latter no more than twice the root of how many values there
are; and never more than `MAX_BINS`, because a result is a small document. The traps are the ends of the range of
doubles: widths that overflow, and edges so close that no double lies between them. So the edges are taken in whole
numbers, and those that are equal are one.
"""

from bisect import bisect_left
from itertools import pairwise
from math import isqrt

from storage.documents import Histogram
from triggers.quantiles import Ordered

MAX_BINS = 100

_CUBES = tuple(number**3 for number in range(MAX_BINS + 1))


def histogram(ordered: Ordered, lower_quartile: float, upper_quartile: float) -> Histogram:
    """Return the histogram of values in ascending order; equal ones are in one bin without a width."""
    count = len(ordered)
    (lowest, highest, lower, upper), unit = _whole(
        float(ordered[0]), float(ordered[-1]), lower_quartile, upper_quartile
    )
    width = highest - lowest
    bins = _bins(count, width, upper - lower) if width else 1
    edges = [(lowest * bins + width * number) / (unit * bins) for number in range(bins + 1)]
    if width:
        edges = list(dict.fromkeys(edges))
    places = [0, *(bisect_left(ordered, edge) for edge in edges[1:-1]), count]
    return Histogram(tuple(edges), tuple(end - start for start, end in pairwise(places)))


def _bins(count: int, width: int, middle: int) -> int:
    """Return how many bins are right for values that are `width` apart, half of them within the `middle`."""
    sturges = (count - 1).bit_length() + 1
    diaconis = isqrt(4 * count - 1) + 1
    if middle:  # width / (2 * middle / cbrt(count)), rounded up: the least number with a cube that is large enough
        diaconis = min(diaconis, bisect_left(_CUBES, -(-count * width**3 // (2 * middle) ** 3)))
    return min(max(sturges, diaconis), MAX_BINS)


def _whole(*values: float) -> tuple[list[int], int]:
    """Return the values as whole numbers, exactly, and how many of their unit make up one."""
    ratios = [value.as_integer_ratio() for value in values]
    unit = max([denominator for _, denominator in ratios])  # all of them are powers of two
    return [numerator * (unit // denominator) for numerator, denominator in ratios], unit
