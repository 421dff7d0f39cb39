"""The arithmetic: what is computed of a sample's values, and nothing else.

The trap is cancellation. The textbook formula `sum(x*x)/n - mean**2` loses every digit when the values
lie far from zero, and a second pass around a rounded mean still overflows near the largest double. So
nothing is rounded before the end: a double is a whole number times a power of two, and the sum and the sum
of squares are kept as Python integers, exact. On exact sums the textbook formula is right, each figure is
rounded once, and neither the order of the values nor how they are cut into blocks can change a bit.

NumPy does the bulk of it. The digits of the values are cut into parts so short that sums of products of parts
stay below 2**53, where doubles are exact in whatever order a machine adds them.
"""

from math import frexp, isfinite, isqrt, ldexp

import numpy as np
import numpy.typing as npt

from documents import Statistics

BLOCK = 16_384
"""Values taken at a time: few enough that they and their parts stay in a processor's cache."""

SPAN = 64
"""Values that many powers of two smaller than the largest are cut on their own: a cut has few parts."""

UNIT = 1300
"""Exact sums count in 2**-UNIT: below 2**-1074, the smallest double, by the digits of a whole cut."""


def summarise(values: npt.NDArray[np.float64]) -> Statistics:
    """Return the statistics of at least one finite value, each the double nearest to the true one."""
    count = values.size
    if not count:
        raise ValueError("expected at least one value")
    minimum, maximum = float(values.min()), float(values.max())
    if not (isfinite(minimum) and isfinite(maximum)):
        raise ValueError("expected finite values")
    total = squares = 0
    for start in range(0, count, BLOCK):
        block_total, block_squares = _exact_sums(values[start : start + BLOCK])
        total += block_total
        squares += block_squares
    divisor = count << UNIT
    return Statistics(
        count=count,
        mean=total / divisor,  # the quotient of two integers is rounded once, to nearest
        standard_deviation=_root_over(count * squares - total * total, divisor),
        minimum=minimum + 0.0,  # min() may find either of -0.0 and 0.0; each plus 0.0 is 0.0
        maximum=maximum + 0.0,
    )


def _exact_sums(values: npt.NDArray[np.float64]) -> tuple[int, int]:
    """Return the sum in units of 2**-UNIT, and the sum of squares in units of 2**(-2 * UNIT)."""
    magnitudes = np.abs(values)
    largest = float(magnitudes.max())
    if not largest:
        return 0, 0
    top = frexp(largest)[1]
    small = magnitudes < ldexp(1.0, top - SPAN)
    total = squares = 0
    if np.count_nonzero(small):
        total, squares = _exact_sums(values[small])
        values = values[~small]

    # A product of two parts is below 2**(2 * width); a sum of as many as there are values stays exact.
    width = (53 - values.size.bit_length()) // 2
    rest = np.ldexp(values, -top)
    cut = []
    while np.count_nonzero(rest):
        rest *= 2.0**width
        part = np.trunc(rest)
        rest -= part
        cut.append(part)
    parts = np.array(cut)

    part_total = part_squares = 0
    for part_sum, products in zip(parts.sum(axis=1).tolist(), (parts @ parts.T).tolist(), strict=True):
        part_total = (part_total << width) + int(part_sum)
        row = 0
        for product in products:
            row = (row << width) + int(product)
        part_squares = (part_squares << width) + row
    shift = UNIT + top - width * len(cut)
    return total + (part_total << shift), squares + (part_squares << 2 * shift)


def _root_over(square: int, divisor: int) -> float:
    """Return `sqrt(square) / divisor`, rounded once.

    The root is taken to at least 60 bits, and its last bit is set if anything was cut off ("round to
    odd"): then the one rounding to a double, even to a denormal one, falls as it does for the true value.
    """
    shift = max(0, 2 * divisor.bit_length() - square.bit_length() + 120)
    shift += shift & 1
    quotient, remainder = divmod(square << shift, divisor * divisor)
    root = isqrt(quotient)
    if remainder or root * root != quotient:
        root |= 1
    return root / (1 << shift // 2)
