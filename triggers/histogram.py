"""How the values are spread: counts in bins of equal width, from the smallest value to the largest.

How many bins is decided as NumPy does it (`auto`): as many as the rule of Sturges (1926) says, or as the one of
Freedman and Diaconis (1981) where that is more, but by the latter no more than twice the root of how many values there
are; and never more than `MOST_BINS`, because a result is a small document. The traps are the ends of the range of
doubles: widths that overflow, and edges so close that no double lies between them. So the edges are taken in whole
numbers, and those that are equal are one.
"""

from bisect import bisect_left
from fractions import Fraction
from itertools import pairwise
from math import isqrt

from documents import Histogram
from triggers.quantiles import Ordered, between

MOST_BINS = 100

_CUBES = tuple(number**3 for number in range(MOST_BINS + 1))


def histogram(ordered: Ordered, lower_quartile: float, upper_quartile: float) -> Histogram:
    """Return the histogram of values in ascending order; equal ones are in one bin without a width."""
    lowest, highest = float(ordered[0]) + 0.0, float(ordered[-1]) + 0.0
    if lowest == highest:
        return Histogram((lowest, highest), (len(ordered),))
    bins = _bins(
        len(ordered), Fraction(highest) - Fraction(lowest), Fraction(upper_quartile) - Fraction(lower_quartile)
    )
    edges = tuple(dict.fromkeys(between(lowest, highest, number, bins) for number in range(bins + 1)))
    places = [0, *(bisect_left(ordered, edge) for edge in edges[1:-1]), len(ordered)]
    return Histogram(edges, tuple(end - start for start, end in pairwise(places)))


def _bins(count: int, width: Fraction, middle: Fraction) -> int:
    """Return how many bins are right for values that are `width` apart, half of them within the `middle`."""
    sturges = (count - 1).bit_length() + 1
    most = min(isqrt(4 * count - 1) + 1, MOST_BINS)
    if middle:  # the least number whose cube is that of `width / (2 * middle / cbrt(count))`, or above
        most = min(most, bisect_left(_CUBES, count * (width / (2 * middle)) ** 3))
    return min(max(sturges, most), MOST_BINS)
