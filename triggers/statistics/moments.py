"""Exact power sums of values, and the statistics that follow from them.

In doubles, the textbook formula `sum(x*x)/n - mean**2` loses all digits if the values are far from zero. Higher moments
lose digits sooner. A second pass that subtracts a rounded mean still overflows near the largest double. This module
therefore rounds only once, at the end. A double is an integer times a power of two, so the sums of the values, their
squares, cubes and fourth powers are exact Python integers. With exact sums, the textbook formulas are exact too. The
result does not depend on the order of the values or on the division into blocks.

NumPy computes most of the sums. This module cuts the binary digits of values and squares into short parts, so that all
sums of products of two parts stay below 2**53. Below this limit, sums of integers in doubles are exact in any order.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from math import frexp, isqrt, ldexp
from operator import add, mul

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

BLOCK = 16_384
"""Number of values per block. A block and its parts fit into the cache of a processor."""

MAX_EXPONENT_RANGE = 32
"""The range of binary exponents that are cut into parts together. The values of each further range are cut separately.

A value then has at most five parts. The matrix has at most sixteen rows: one row of ones, five rows of parts, and ten
rows of parts of the squares. With more rows, OpenBLAS starts threads, and the product takes ten times as long on busy
processors.
"""

MAX_FEW = 200
"""Up to this number of values, a loop over Python's integers is faster than NumPy."""


@dataclass(frozen=True, slots=True)
class Moments:
    """The number of values, and the sums of their first to fourth powers.

    The sum of the k-th powers is exactly `sums[k - 1] * 2**(k * exponent)`. Add the moments of two sets of values with
    `+`. `Moments()` has no values.
    """

    count: int = 0
    exponent: int = 0
    sums: tuple[int, int, int, int] = (0, 0, 0, 0)

    @classmethod
    def of(cls, values: Vector, check: Callable[[], None] = lambda: None) -> "Moments":
        """Return the moments of finite values. `check` is called for each block, and may raise an error."""
        moments = cls()
        for start in range(0, values.size, BLOCK):
            check()
            moments += _of_block(values[start : start + BLOCK])
        return moments

    @classmethod
    def of_small_sample(cls, values: list[float]) -> "Moments":
        """Return the moments of finite values by a loop over integers, which is faster than NumPy for few values."""
        smallest, largest = min(values), max(values)
        if smallest <= 0.0:
            magnitudes = list(map(abs, filter(None, values))) or [1.0]
            smallest, largest = min(magnitudes), max(magnitudes)
        lowest = frexp(smallest)[1]
        if frexp(largest)[1] - lowest > MAX_EXPONENT_RANGE:  # the integers would be too long
            return cls.of(np.array(values))
        return _of_few(values, lowest)

    def __add__(self, other: "Moments") -> "Moments":
        """Return the moments of the values of both operands."""
        if not self.count:
            return other
        low = min(self.exponent, other.exponent)
        shift, other_shift = self.exponent - low, other.exponent - low
        first, second, third, fourth = (
            (one << power * shift) + (two << power * other_shift)
            for power, (one, two) in enumerate(zip(self.sums, other.sums, strict=True), 1)
        )
        return Moments(self.count + other.count, low, (first, second, third, fourth))

    @property
    def sum(self) -> float | None:
        """The sum. None if it exceeds the largest double."""
        with suppress(OverflowError):
            return _scale(self.sums[0], 1, self.exponent)
        return None

    @property
    def mean(self) -> float:
        """The arithmetic mean."""
        return _scale(self.sums[0], self.count, self.exponent)

    @property
    def standard_deviation(self) -> float:
        """The population standard deviation: the square root of the mean squared deviation from the mean."""
        return _root(self._second, self.count**2, self.exponent)

    @property
    def sample_standard_deviation(self) -> float | None:
        """The sample standard deviation, with Bessel's correction.

        None if there is only one value, or if the result exceeds the largest double.
        """
        with suppress(OverflowError, ZeroDivisionError):
            return _root(self._second, self.count * (self.count - 1), self.exponent)
        return None

    @property
    def skewness(self) -> float | None:
        """Fisher's and Pearson's g1: the third central moment, divided by the second one to the power of 3/2.

        None if all values are equal.
        """
        count, (first, second, third, _) = self.count, self.sums
        central = count * (count * third - 3 * first * second) + 2 * first**3
        if not self._second:
            return None
        size = _root(central**2, self._second**3)
        return -size if central < 0 else size

    @property
    def kurtosis(self) -> float | None:
        """The excess g2: the fourth central moment, divided by the square of the second central moment, minus 3.

        None if all values are equal.
        """
        count, (first, second, third, fourth) = self.count, self.sums
        central = count * (count * (count * fourth - 4 * first * third) + 6 * first**2 * second) - 3 * first**4
        square = self._second**2
        return (central - 3 * square) / square if square else None

    @property
    def _second(self) -> int:
        """The second central moment times the squared count. It is an integer, like `central` in `skewness`."""
        return self.count * self.sums[1] - self.sums[0] ** 2


def _of_few(values: list[float], lowest: int) -> Moments:
    """Return the moments by a loop over integers. `lowest` is the exponent of the smallest value that is not zero."""
    shift = 900 if lowest < -900 else 0  # otherwise, the scale would exceed the largest double
    if shift:
        values = [ldexp(value, shift) for value in values]
    exponent = lowest - 53  # each value is an integer times 2**exponent
    scale = ldexp(1.0, -exponent - shift)
    numbers = [int(value * scale) for value in values]
    squares = [number * number for number in numbers]
    cubes, fourths = map(mul, numbers, squares), map(mul, squares, squares)
    return Moments(len(values), exponent, (sum(numbers), sum(squares), sum(cubes), sum(fourths)))


def _of_ranges(values: Vector, magnitudes: Vector, top: int) -> Moments:
    """Return the moments of values that have many exponents, up to `top`. Each range of exponents is added by itself.

    One array operation finds all ranges. Dividing the values again and again took 8 instead of 2 ms for 2,700 values.
    """
    ranges = (top - np.frexp(magnitudes)[1]) // (MAX_EXPONENT_RANGE + 1)
    ranges[magnitudes == 0.0] = -1
    order = np.argsort(ranges, kind="stable")
    ends = np.flatnonzero(np.diff(ranges[order])) + 1
    parts = np.split(values[order], ends)[::-1]  # the smallest values first, because their sums are the shortest
    return reduce(add, map(_of_block, parts))


def _of_block(values: Vector) -> Moments:
    magnitudes = np.abs(values)
    largest = float(magnitudes.max())
    if not largest:
        return Moments(values.size)
    smallest = float(magnitudes.min(where=magnitudes > 0.0, initial=largest))
    top, lowest = frexp(largest)[1], frexp(smallest)[1]
    if top - lowest > MAX_EXPONENT_RANGE:
        return _of_ranges(values, magnitudes, top)
    if values.size <= MAX_FEW:
        return _of_few(values.tolist(), lowest)

    # The product of two parts is below 2**(2 * width), so the sum over all values, or over all parts, is exact.
    width = min(24, (53 - values.size.bit_length()) // 2)
    part_count = -(-(top - lowest + 53) // width)
    rows = np.empty((1 + 3 * part_count, values.size))
    ones, parts, squares = rows[0], rows[1 : 1 + part_count], rows[1 + part_count :]
    ones.fill(1.0)
    half = -top // 2
    _cut(values * 2.0**half * 2.0 ** (-top - half), parts, width)
    _square(parts, squares, width)
    sums, *products = (rows @ rows.T).tolist()
    return Moments(
        values.size,
        top - width * part_count,
        (
            _join(sums[1 : 1 + part_count], width),
            _join(sums[1 + part_count :], width),
            _join((_join(row[1 + part_count :], width) for row in products[:part_count]), width),
            _join((_join(row[1 + part_count :], width) for row in products[part_count:]), width),
        ),
    )


def _cut(rest: Vector, parts: Vector, width: int) -> None:
    """Cut numbers below 1 into `parts`: integers of `width` bits with the sign of the number. Overwrites `rest`."""
    for part in parts:
        rest *= 2.0**width
        np.trunc(rest, out=part)
        rest -= part


def _square(parts: Vector, squares: Vector, width: int) -> None:
    """Write the squares of the numbers in `parts` to `squares`, which has twice as many parts of the same width."""
    squares.fill(0.0)
    product, doubled = np.empty_like(parts[0]), np.empty_like(parts[0])
    for position, part in enumerate(parts):
        squares[2 * position + 1] += np.multiply(part, part, out=product)
        np.add(part, part, out=doubled)
        for other in range(position + 1, len(parts)):
            squares[position + other + 1] += np.multiply(doubled, parts[other], out=product)
    carried = product
    for position in range(len(squares) - 1, 0, -1):
        np.floor(np.multiply(squares[position], 2.0**-width, out=carried), out=carried)
        squares[position - 1] += carried
        carried *= 2.0**width
        squares[position] -= carried


def _join(digits: Iterable[float], width: int) -> int:
    """Return the integer with these digits in base 2**width. The most significant digit comes first."""
    number = 0
    for digit in digits:
        number = (number << width) + int(digit)
    return number


def _scale(numerator: int, denominator: int, exponent: int) -> float:
    """Return `numerator / denominator * 2**exponent`. It is rounded once, as the quotient of two integers."""
    if exponent < 0:
        return numerator / (denominator << -exponent)
    return (numerator << exponent) / denominator


def _root(numerator: int, denominator: int, exponent: int = 0) -> float:
    """Return `sqrt(numerator / denominator) * 2**exponent`, rounded once.

    The root has at least 60 bits. If bits were cut off, the last bit is set ("round to odd"). Rounding this root to a
    double, even to a subnormal one, then has the same result as rounding the exact root.
    """
    shift = max(0, denominator.bit_length() - numerator.bit_length() + 122)
    shift += shift & 1
    quotient, remainder = divmod(numerator << shift, denominator)
    root = isqrt(quotient)
    if remainder or root * root != quotient:
        root |= 1
    return _scale(root, 1, exponent - shift // 2)
