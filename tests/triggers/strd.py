"""NIST's Statistical Reference Datasets for univariate summaries: how many digits are right, ours and others'.

`python -m tests.triggers.strd` prints the table of docs/statistics.md. NIST certifies mean and sample standard
deviation to 15 digits. The trap: the sets are decimal, and a program that reads them into doubles works on other
numbers. The last columns therefore compare with what is exact for the doubles, which is what a function gets.
"""

import json
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tests.triggers.exact import central, nearest_root
from triggers.summary import summarize

CERTIFIED_DIGITS = 15
DOUBLE_DIGITS = 16
_FILE = Path(__file__).with_suffix(".json")


class Set(NamedTuple):
    """A data set, and what NIST certifies of it."""

    name: str
    values: npt.NDArray[np.float64]
    mean: Fraction
    standard_deviation: Fraction


class Digits(NamedTuple):
    """How many digits of a figure are right: against NIST's, then against the exact figure of the doubles."""

    ours: float
    numpy: float
    one_pass: float
    ours_of_doubles: float
    numpy_of_doubles: float


def sets() -> Iterator[Set]:
    """Yield the nine sets, those of lower difficulty first."""
    pi = np.array(list(_digits_of_pi(5_000)), dtype=np.float64)
    pi[956] = 3.0  # an 8 in truth; what NIST publishes and certifies has a 3
    yield Set("PiDigits", pi, Fraction("4.53480000000000"), Fraction("2.86733906028871"))
    observed = json.loads(_FILE.read_text())
    for name in ("Lottery", "Lew", "Mavro", "Michelso"):
        certified = observed[name]
        values = np.array(certified["values"], dtype=np.float64)
        yield Set(name, values, Fraction(certified["mean"]), Fraction(certified["standard_deviation"]))
    yield Set("NumAcc1", np.array([10000001.0, 10000003.0, 10000002.0]), Fraction(10000002), Fraction(1))
    for name, whole in (("NumAcc2", "1"), ("NumAcc3", "1000000"), ("NumAcc4", "10000000")):
        decimals = [f"{whole}.2", *[f"{whole}.1", f"{whole}.3"] * 500]
        yield Set(name, np.array(decimals, dtype=np.float64), Fraction(f"{whole}.2"), Fraction("0.1"))


def means(data: Set) -> Digits:
    """Return the right digits of the mean."""
    values = data.values
    total = 0.0
    for value in values.tolist():
        total += value
    ours, theirs = summarize(values).mean, float(np.mean(values))
    exact = sum(map(Fraction, values.tolist()), Fraction()) / len(values)
    return _digits(ours, theirs, total / len(values), data.mean, Fraction(float(exact)))


def deviations(data: Set) -> Digits:
    """Return the right digits of the sample standard deviation."""
    values = data.values
    total = squares = 0.0
    for value in values.tolist():
        total += value
        squares += value * value
    count = len(values)
    variance = (squares - total * total / count) / (count - 1)
    ours = summarize(values).sample_standard_deviation
    assert ours is not None
    exact = nearest_root(central(values, 2) * count / (count - 1))
    one_pass = math.sqrt(variance) if variance >= 0 else 0.0
    return _digits(ours, float(np.std(values, ddof=1)), one_pass, data.standard_deviation, Fraction(exact))


def _digits(ours: float, theirs: float, one_pass: float, certified: Fraction, exact: Fraction) -> Digits:
    return Digits(
        _right(ours, certified, CERTIFIED_DIGITS),
        _right(theirs, certified, CERTIFIED_DIGITS),
        _right(one_pass, certified, CERTIFIED_DIGITS),
        _right(ours, exact, DOUBLE_DIGITS),
        _right(theirs, exact, DOUBLE_DIGITS),
    )


def _right(figure: float, true: Fraction, most: int) -> float:
    """Return the log relative error: how many digits of `figure` are right, up to `most`."""
    error = abs(Fraction(figure) - true) / abs(true)
    return max(0.0, min(float(most), -math.log10(error))) if error else float(most)


def _digits_of_pi(count: int) -> str:
    """Return the first digits of pi, by Machin's formula in whole numbers."""
    guard: int = 10**10
    one: int = 10 ** (count - 1) * guard

    def inverse_tangent(divisor: int) -> int:
        power = total = one // divisor
        number, sign = 1, 1
        while power:
            power //= divisor**2
            number, sign = number + 2, -sign
            total += sign * (power // number)
        return total

    digits = 4 * (4 * inverse_tangent(5) - inverse_tangent(239)) // guard
    half = count // 2  # Python writes no number of more than 4,300 digits at once
    return "{}{:0{}}".format(*divmod(digits, 10**half), half)


def table() -> str:
    """Return the table of docs/statistics.md."""
    titles = ("NIST set", "figure", "ours", "NumPy", "one pass", "ours, of the doubles", "NumPy, of the doubles")
    lines = [f"| {' | '.join(titles)} |", "|---|---|" + "---:|" * 5]
    for data in sets():
        for figure, digits in (("mean", means(data)), ("deviation", deviations(data))):
            lines.append(f"| {data.name} | {figure} | {' | '.join(f'{each:.1f}' for each in digits)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
