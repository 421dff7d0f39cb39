"""Statistics of many results together, from the statistics of each and not from the values.

The trap is cancellation, as it is for one sample: the usual pairwise update (Chan, Golub & LeVeque 1983; Pebay 2008)
subtracts rounded means, and squares of large ones overflow. So nothing is rounded before the end: a double is a whole
number times a power of two, and sums of such whole numbers are exact. They are kept apart by their powers of two, so
that each is short and what is kept does not grow with the number of results.

What is left is that every result's mean and standard deviation came rounded: the mean is as good as they are, and
the standard deviation is off by at most about half a unit in the last place of the largest mean.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import frexp, inf, isqrt, ldexp

_DIGITS = 53
_UNIT = 1074 + 2 * _DIGITS
"""Exact sums count in 2**-_UNIT: below the last digit of the smallest double."""
_ROOT_BITS = 128


@dataclass(frozen=True, slots=True)
class Part:
    """What one result gives to a summary. The standard deviation is the population's."""

    count: int
    mean: float
    standard_deviation: float
    minimum: float
    maximum: float


class Merged:
    """The statistics of all values that the parts added so far were computed from."""

    def __init__(self, parts: Iterable[Part] = ()) -> None:
        self.parts = 0
        self.count = 0
        self.minimum, self.maximum = inf, -inf
        self._sums: dict[int, int] = {}
        self._squares: dict[int, int] = {}
        for part in parts:
            self.add(part)

    def add(self, part: Part) -> None:
        """Take in one more."""
        count = part.count
        self.parts += 1
        self.count += count
        self.minimum = min(self.minimum, part.minimum)
        self.maximum = max(self.maximum, part.maximum)
        digits, exponent = _whole(part.mean)
        self._sums[exponent] = self._sums.get(exponent, 0) + count * digits
        self._squares[exponent] = self._squares.get(exponent, 0) + count * digits * digits
        digits, exponent = _whole(part.standard_deviation)
        self._squares[exponent] = self._squares.get(exponent, 0) + count * digits * digits

    def mean(self) -> float:
        """Return the mean of all values, of which there must be some."""
        return self._sum() / (self.count << _UNIT)  # the quotient of two integers is rounded once, to nearest

    def standard_deviation(self) -> float:
        """Return the population standard deviation of all values, of which there must be some."""
        squares = sum(digits << 2 * (exponent + _UNIT) for exponent, digits in self._squares.items())
        variance = self.count * squares - self._sum() ** 2
        shift = max(_ROOT_BITS - variance.bit_length() // 2, 0)
        root = isqrt(variance << 2 * shift)
        try:
            return root / (self.count << _UNIT + shift)
        except OverflowError:  # rounded deviations can add up to a little over half the range, which is the most
            return self.maximum / 2 - self.minimum / 2

    def _sum(self) -> int:
        return sum(digits << exponent + _UNIT for exponent, digits in self._sums.items())


def _whole(number: float) -> tuple[int, int]:
    """Return whole digits and the power of two that they count in."""
    fraction, exponent = frexp(number)
    return int(ldexp(fraction, _DIGITS)), exponent - _DIGITS
