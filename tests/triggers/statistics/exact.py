"""Statistics in rational arithmetic: slow and exact, with other formulas than the code under test."""

from fractions import Fraction
from math import isqrt, nextafter

import numpy as np
import numpy.typing as npt

LARGEST = 1.7976931348623157e308
SMALLEST = 5e-324


def array(*values: float) -> npt.NDArray[np.float64]:
    """Return the values as an array of doubles."""
    return np.array(values, dtype=np.float64)


def mean(values: npt.NDArray[np.float64]) -> Fraction:
    """Return the arithmetic mean."""
    return sum(map(Fraction, values.tolist()), Fraction()) / len(values)


def central(values: npt.NDArray[np.float64], power: int) -> Fraction:
    """Return a central moment: the mean of this power of the deviations from the mean."""
    middle = mean(values)
    return sum(((Fraction(value) - middle) ** power for value in values.tolist()), Fraction()) / len(values)


def nearest_root(square: Fraction) -> float:
    """Return the double nearest to the square root of `square`. Of two nearest doubles, return the even one."""
    guess = float(Fraction(isqrt(square.numerator * square.denominator << 4400), square.denominator << 2200))
    below, above = nextafter(guess, 0.0), nextafter(guess, LARGEST)
    if square > _midpoint(below, guess) ** 2:
        return _nearer(square, guess, above)
    return _nearer(square, below, guess)


def _nearer(square: Fraction, low: float, high: float) -> float:
    """Return the neighbor that is nearer to the root: the root exceeds the midpoint if `square` exceeds its square."""
    midpoint = _midpoint(low, high)
    if square == midpoint**2:
        return float(midpoint)  # the even neighbor
    return high if square > midpoint**2 else low


def _midpoint(low: float, high: float) -> Fraction:
    return (Fraction(low) + Fraction(high)) / 2
