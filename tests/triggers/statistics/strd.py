"""The number of correct digits on NIST's Statistical Reference Datasets: of Dropzone, NumPy and the textbook formula.

`python -m tests.triggers.statistics.strd` prints the table of docs/statistics.md. NIST certifies 15 digits of mean and
sample standard deviation.

Note: the datasets contain decimal numbers, and their conversion to doubles changes them. The last columns of the table
therefore compare with the exact statistics of the doubles.
"""

import json
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tests.triggers.statistics.exact import central, nearest_root
from triggers.computation import summarize

CERTIFIED_DIGITS = 15
DOUBLE_DIGITS = 16
_FILE = Path(__file__).with_suffix(".json")


class Set(NamedTuple):
    """A dataset with its certified statistics."""

    name: str
    values: npt.NDArray[np.float64]
    mean: Fraction
    standard_deviation: Fraction


class Digits(NamedTuple):
    """The number of correct digits, compared with NIST's statistic and with the exact statistic of the doubles."""

    ours: float
    numpy: float
    one_pass: float
    ours_of_doubles: float
    numpy_of_doubles: float


def sets() -> Iterator[Set]:
    """Yield the nine datasets in ascending difficulty."""
    pi = np.array(list(_digits_of_pi(5_000)), dtype=np.float64)
    pi[956] = 3.0  # this digit of pi is 8, but NIST publishes and certifies a 3
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
    """Return the number of correct digits of the mean."""
    values = data.values
    total = 0.0
    for value in values.tolist():
        total += value
    ours, theirs = summarize(values.copy()).mean, float(np.mean(values))
    exact = sum(map(Fraction, values.tolist()), Fraction()) / len(values)
    return _digits(ours, theirs, total / len(values), data.mean, Fraction(float(exact)))


def deviations(data: Set) -> Digits:
    """Return the number of correct digits of the sample standard deviation."""
    values = data.values
    total = squares = 0.0
    for value in values.tolist():
        total += value
        squares += value * value
    count = len(values)
    variance = (squares - total * total / count) / (count - 1)
    ours = summarize(values.copy()).sample_standard_deviation
    assert ours is not None
    exact = nearest_root(central(values, 2) * count / (count - 1))
    one_pass = math.sqrt(variance) if variance >= 0 else 0.0
    return _digits(ours, float(np.std(values, ddof=1)), one_pass, data.standard_deviation, Fraction(exact))


def _digits(ours: float, theirs: float, one_pass: float, certified: Fraction, exact: Fraction) -> Digits:
    return Digits(
        _correct_digits(ours, certified, CERTIFIED_DIGITS),
        _correct_digits(theirs, certified, CERTIFIED_DIGITS),
        _correct_digits(one_pass, certified, CERTIFIED_DIGITS),
        _correct_digits(ours, exact, DOUBLE_DIGITS),
        _correct_digits(theirs, exact, DOUBLE_DIGITS),
    )


def _correct_digits(value: float, exact: Fraction, max_digits: int) -> float:
    """Return the log relative error of `value`: the number of its correct digits, up to `max_digits`."""
    error = abs(Fraction(value) - exact) / abs(exact)
    return max(0.0, min(float(max_digits), -math.log10(error))) if error else float(max_digits)


def _digits_of_pi(count: int) -> str:
    """Return the first digits of pi, computed by Machin's formula in integers."""
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
    half = count // 2  # Python does not convert integers of more than 4,300 digits to text
    return "{}{:0{}}".format(*divmod(digits, 10**half), half)


def table() -> str:
    """Return the table of docs/statistics.md."""
    titles = (
        "NIST set",
        "statistic",
        "Dropzone",
        "NumPy",
        "one pass",
        "Dropzone, of the doubles",
        "NumPy, of the doubles",
    )
    lines = [f"| {' | '.join(titles)} |", "|---|---|" + "---:|" * 5]
    for data in sets():
        for statistic, digits in (("mean", means(data)), ("deviation", deviations(data))):
            lines.append(f"| {data.name} | {statistic} | {' | '.join(f'{each:.1f}' for each in digits)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
