"""Exact power sums of values, and the figures that are made of them.

The trap is cancellation. The textbook formula `sum(x*x)/n - mean**2` loses every digit when the values lie far
from zero, and the higher moments lose them sooner; a second pass around a rounded mean still overflows near the largest
double. So nothing is rounded before the end: a double is a whole number times a power of two, and the sums of the
values, their squares, cubes and fourth powers are kept as Python integers, exact. On exact sums the textbook formulas
are right, each figure is rounded once, and neither the order of the values nor how they are cut into blocks, nor which
of them are added first, can change a bit.

NumPy does the bulk of it. The digits of the values and of their squares are cut into parts so short that sums of
products of parts stay below 2**53, where doubles are exact in whatever order a machine adds them.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from math import frexp, isqrt, ldexp
from operator import mul

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

BLOCK = 16_384
"""Values taken at a time: few enough that they and their parts stay in a processor's cache."""

SPAN = 32
"""Values that many powers of two smaller than the largest are cut on their own: a cut has few parts.

At most five, which with their squares are sixteen rows: with more OpenBLAS takes threads, and on busy processors ten
times as long.
"""


@dataclass(frozen=True, slots=True)
class Moments:
    """How many values there are, and the sums of their first to fourth powers.

    The sum of the k-th powers is `sums[k - 1] * 2**(k * exponent)`, exactly. Moments of parts are added up, beginning
    with those of nothing at all.
    """

    count: int = 0
    exponent: int = 0
    sums: tuple[int, int, int, int] = (0, 0, 0, 0)

    @classmethod
    def of(cls, values: Vector) -> "Moments":
        """Return the moments of finite values."""
        moments = cls()
        for start in range(0, values.size, BLOCK):
            moments += _of_block(values[start : start + BLOCK])
        return moments

    @classmethod
    def of_few(cls, values: list[float]) -> "Moments":
        """Return the same by a loop over integers, which is quicker than NumPy's calls where there are few values."""
        magnitudes = list(map(abs, filter(None, values))) or [1.0]
        lowest = frexp(min(magnitudes))[1]
        if frexp(max(magnitudes))[1] - lowest > SPAN or lowest < -900:  # integers too long, or no double for the scale
            return cls.of(np.array(values))
        exponent = lowest - 53  # so that every value is a whole number of that unit
        scale = ldexp(1.0, -exponent)
        numbers = [int(value * scale) for value in values]
        squares = [number * number for number in numbers]
        cubes, fourths = map(mul, numbers, squares), map(mul, squares, squares)
        return cls(len(values), exponent, (sum(numbers), sum(squares), sum(cubes), sum(fourths)))

    def __add__(self, other: "Moments") -> "Moments":
        """Return the moments of the values of both."""
        if not self.count:
            return other
        low = min(self.exponent, other.exponent)
        mine, others = self.exponent - low, other.exponent - low
        first, second, third, fourth = (
            (one << power * mine) + (two << power * others)
            for power, (one, two) in enumerate(zip(self.sums, other.sums, strict=True), 1)
        )
        return Moments(self.count + other.count, low, (first, second, third, fourth))

    @property
    def sum(self) -> float | None:
        """The sum; None where it is beyond the largest double."""
        with suppress(OverflowError):
            return _scaled(self.sums[0], 1, self.exponent)
        return None

    @property
    def mean(self) -> float:
        """The arithmetic mean."""
        return _scaled(self.sums[0], self.count, self.exponent)

    @property
    def standard_deviation(self) -> float:
        """The root of the mean squared distance from the mean: the population's."""
        return _root(self._second, self.count**2, self.exponent)

    @property
    def sample_standard_deviation(self) -> float | None:
        """The same with one value less to divide by (Bessel's correction).

        None of a single value, and where it is beyond the largest double.
        """
        with suppress(OverflowError, ZeroDivisionError):
            return _root(self._second, self.count * (self.count - 1), self.exponent)
        return None

    @property
    def skewness(self) -> float | None:
        """The third central moment over the second to the power of 3/2 (Fisher and Pearson's g1).

        None of equal values.
        """
        count, (first, second, third, _) = self.count, self.sums
        central = count * (count * third - 3 * first * second) + 2 * first**3
        if not self._second:
            return None
        size = _root(central**2, self._second**3)
        return -size if central < 0 else size

    @property
    def kurtosis(self) -> float | None:
        """The fourth central moment over the square of the second, less 3 (the excess, g2). None of equal values."""
        count, (first, second, third, fourth) = self.count, self.sums
        central = count * (count * (count * fourth - 4 * first * third) + 6 * first**2 * second) - 3 * first**4
        square = self._second**2
        return (central - 3 * square) / square if square else None

    @property
    def _second(self) -> int:
        """The second central moment times the square of the count; those beside it likewise, so that they are whole."""
        return self.count * self.sums[1] - self.sums[0] ** 2


def _of_block(values: Vector) -> Moments:
    magnitudes = np.abs(values)
    largest = float(magnitudes.max())
    if not largest:
        return Moments(values.size)
    smallest = float(magnitudes.min(where=magnitudes > 0.0, initial=largest))
    top, lowest = frexp(largest)[1], frexp(smallest)[1]
    if top - lowest > SPAN:
        small = magnitudes < ldexp(1.0, top - SPAN)
        return _of_block(values[small]) + _of_block(values[~small])

    # A product of two parts is below 2**(2 * width); a sum of as many as there are values, or parts, stays exact.
    width = min(24, (53 - values.size.bit_length()) // 2)
    cut = -(-(top - lowest + 53) // width)
    rows = np.empty((1 + 3 * cut, values.size))
    ones, parts, squares = rows[0], rows[1 : 1 + cut], rows[1 + cut :]
    ones.fill(1.0)
    half = -top // 2
    _cut(values * 2.0**half * 2.0 ** (-top - half), parts, width)
    _square(parts, squares, width)
    sums, *products = (rows @ rows.T).tolist()
    return Moments(
        values.size,
        top - width * cut,
        (
            _joined(sums[1 : 1 + cut], width),
            _joined(sums[1 + cut :], width),
            _joined((_joined(row[1 + cut :], width) for row in products[:cut]), width),
            _joined((_joined(row[1 + cut :], width) for row in products[cut:]), width),
        ),
    )


def _cut(rest: Vector, parts: Vector, width: int) -> None:
    """Cut numbers below 1 into `parts`: whole numbers of `width` bits, each with its number's sign. Uses up `rest`."""
    for part in parts:
        rest *= 2.0**width
        np.trunc(rest, out=part)
        rest -= part


def _square(parts: Vector, squares: Vector, width: int) -> None:
    """Fill in the squares of numbers that are cut into `parts`, cut in the same way into twice as many."""
    squares.fill(0.0)
    product, doubled = np.empty_like(parts[0]), np.empty_like(parts[0])
    for place, part in enumerate(parts):
        squares[2 * place + 1] += np.multiply(part, part, out=product)
        np.add(part, part, out=doubled)
        for other in range(place + 1, len(parts)):
            squares[place + other + 1] += np.multiply(doubled, parts[other], out=product)
    carried = product
    for place in range(len(squares) - 1, 0, -1):
        np.floor(np.multiply(squares[place], 2.0**-width, out=carried), out=carried)
        squares[place - 1] += carried
        carried *= 2.0**width
        squares[place] -= carried


def _joined(digits: Iterable[float], width: int) -> int:
    """Return the number that has these digits, the most significant first, in base 2**width."""
    number = 0
    for digit in digits:
        number = (number << width) + int(digit)
    return number


def _scaled(numerator: int, denominator: int, exponent: int) -> float:
    """Return `numerator / denominator * 2**exponent`, rounded once: the quotient of two integers is."""
    if exponent < 0:
        return numerator / (denominator << -exponent)
    return (numerator << exponent) / denominator


def _root(numerator: int, denominator: int, exponent: int = 0) -> float:
    """Return `sqrt(numerator / denominator) * 2**exponent`, rounded once.

    The root is taken to at least 60 bits, and its last bit is set if anything was cut off ("round to
    odd"): then the one rounding to a double, even to a denormal one, falls as it does for the true value.
    """
    shift = max(0, denominator.bit_length() - numerator.bit_length() + 122)
    shift += shift & 1
    quotient, remainder = divmod(numerator << shift, denominator)
    root = isqrt(quotient)
    if remainder or root * root != quotient:
        root |= 1
    return _scaled(root, 1, exponent - shift // 2)
