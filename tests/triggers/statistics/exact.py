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
    """Return the double nearest to the square root of `square`."""
    guess = float(Fraction(isqrt(square.numerator * square.denominator << 4400), square.denominator << 2200))
    candidates = [nextafter(guess, 0.0), guess, nextafter(guess, LARGEST)]
    # The root is above the midpoint of two neighbors if and only if its square is above the square of the midpoint.
    low, high = candidates[0], candidates[1]
    if square > ((Fraction(low) + Fraction(high)) / 2) ** 2:
        low, high = candidates[1], candidates[2]
        return high if square > ((Fraction(low) + Fraction(high)) / 2) ** 2 else low
    return low
