"""The combined statistics of many results, computed from the statistics of each result.

The usual pairwise update (Chan, Golub & LeVeque 1983; Pebay 2008) subtracts rounded means and therefore loses digits.
The squares of large means also overflow. This module therefore rounds only once, at the end. A double is an integer
times a power of two, and sums of such integers are exact. This module has one sum per power of two, so the integers
stay short. The number of sums does not grow with the number of results.

The stored mean and standard deviation of each result are already rounded. The merged mean is as accurate as the stored
means. The error of the merged standard deviation is at most about half a unit in the last place of the largest mean.

Quantiles follow from the sum of the quantile sketches of the results.

All sums are exact, and the level of a sketch depends only on its values. The merged statistics therefore do not depend
on the order in which results are added, or on the parts in which they are merged.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import frexp, inf, isqrt, ldexp

from storage.documents.quantile_sketch import MergedSketch

_MANTISSA_BITS = 53
_UNIT_EXPONENT = 1074 + 2 * _MANTISSA_BITS
"""Exact sums are multiples of 2**-_UNIT_EXPONENT. This unit is below the last digit of the smallest double."""
_ROOT_BITS = 128
_HEADER = struct.Struct("<QQQdd")
"""The results, the values, the results without a sketch, the minimum and the maximum."""
_RESULTS = struct.Struct("<Q")
"""The beginning of the header."""
_SUM = struct.Struct("<iH")
"""The exponent of an exact sum, and the length of its integer in bytes."""
_QUANTILES = {
    "percentile_1": 1,
    "percentile_5": 5,
    "lower_quartile": 25,
    "median": 50,
    "upper_quartile": 75,
    "percentile_95": 95,
    "percentile_99": 99,
}
"""The percent of each quantile, by the name of the statistic."""


@dataclass(frozen=True, slots=True)
class ResultStatistics:
    """The statistics of one result that a summary merges. `standard_deviation` is the population standard deviation."""

    count: int
    mean: float
    standard_deviation: float
    minimum: float
    maximum: float


FIELDS = tuple(each.name for each in fields(ResultStatistics))
"""The stored fields of a result that are merged, in addition to its sketch."""


@dataclass(frozen=True, slots=True)
class MergedQuantiles:
    """Quantiles by the name of the statistic. `relative_error` is the error of the values that are interpolated."""

    values: Mapping[str, float]
    relative_error: float


class MergedStatistics:
    """The statistics of all values of the added results. `results` counts the results, `count` counts the values.

    `results_without_sketch` counts the results of earlier statistics versions, which have no quantile sketch. If there
    are any, `quantiles` is None. It is also None before `finish`.
    """

    def __init__(self) -> None:
        self.results = 0
        self.count = 0
        self.minimum, self.maximum = inf, -inf
        self.results_without_sketch = 0
        self.quantiles: MergedQuantiles | None = None
        self._sketch = MergedSketch()
        self._sums: dict[int, int] = {}
        self._squares: dict[int, int] = {}

    def add(self, statistics: ResultStatistics, sketch: bytes | None) -> None:
        """Add the statistics and the stored quantile sketch of one result."""
        count = statistics.count
        self.results += 1
        self.count += count
        self.minimum = min(self.minimum, statistics.minimum)
        self.maximum = max(self.maximum, statistics.maximum)
        if sketch is None:
            self.results_without_sketch += 1
        else:
            self._sketch.add(sketch)
        mantissa, exponent = _mantissa_and_exponent(statistics.mean)
        self._sums[exponent] = self._sums.get(exponent, 0) + count * mantissa
        self._squares[exponent] = self._squares.get(exponent, 0) + count * mantissa * mantissa
        mantissa, exponent = _mantissa_and_exponent(statistics.standard_deviation)
        self._squares[exponent] = self._squares.get(exponent, 0) + count * mantissa * mantissa

    def merge(self, other: "MergedStatistics") -> None:
        """Add the results of `other`, which must not be finished."""
        self.results += other.results
        self.count += other.count
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)
        self.results_without_sketch += other.results_without_sketch
        self._sketch.merge(other._sketch)
        for sums, added in ((self._sums, other._sums), (self._squares, other._squares)):
            for exponent, mantissa in added.items():
                sums[exponent] = sums.get(exponent, 0) + mantissa

    @property
    def sketch_bytes(self) -> int:
        """The memory of the quantile sketches."""
        return self._sketch.byte_count

    def encode(self) -> bytes:
        """Return the stored form. These statistics must not be finished."""
        header = _HEADER.pack(self.results, self.count, self.results_without_sketch, self.minimum, self.maximum)
        sketch = self._sketch.sum().encode() if self.results > self.results_without_sketch else b""
        return header + _encode_sum(self._sums, 1) + _encode_sum(self._squares, 2) + sketch

    @classmethod
    def decode(cls, stored: bytes) -> "MergedStatistics":
        """Return the statistics with this stored form."""
        merged = cls()
        merged.merge_stored(stored)
        return merged

    def merge_stored(self, stored: bytes) -> None:
        """Add the results of statistics in their stored form."""
        results, count, without_sketch, minimum, maximum = _HEADER.unpack_from(stored)
        self.results += results
        self.count += count
        self.minimum = min(self.minimum, minimum)
        self.maximum = max(self.maximum, maximum)
        self.results_without_sketch += without_sketch
        position = _HEADER.size
        for sums in (self._sums, self._squares):
            exponent, mantissa, position = _decode_sum(stored, position)
            sums[exponent] = sums.get(exponent, 0) + mantissa
        if position < len(stored):
            self._sketch.add(stored[position:])

    def mean(self) -> float:
        """Return the mean of all values. Requires at least one value."""
        return self._sum() / (self.count << _UNIT_EXPONENT)  # Python rounds the quotient of two integers once

    def standard_deviation(self) -> float:
        """Return the population standard deviation of all values. Requires at least one value."""
        squares = sum(mantissa << 2 * (exponent + _UNIT_EXPONENT) for exponent, mantissa in self._squares.items())
        variance = self.count * squares - self._sum() ** 2
        shift = max(_ROOT_BITS - variance.bit_length() // 2, 0)
        root = isqrt(variance << 2 * shift)
        try:
            return root / (self.count << _UNIT_EXPONENT + shift)
        except OverflowError:
            # The exact result is at most half of `maximum - minimum`. Rounded deviations can exceed that slightly.
            return self.maximum / 2 - self.minimum / 2

    def finish(self) -> None:
        """Compute `quantiles`, after the last result is added, and free the sketches. This can take 2 ms."""
        if self.quantiles is None and self.count and not self.results_without_sketch:
            sketch = self._sketch.sum().limited()
            values = sketch.quantiles(_QUANTILES.values())
            within = (min(max(value, self.minimum), self.maximum) for value in values)
            self.quantiles = MergedQuantiles(dict(zip(_QUANTILES, within, strict=True)), sketch.relative_error)
        self._sketch = MergedSketch()

    def _sum(self) -> int:
        return sum(mantissa << exponent + _UNIT_EXPONENT for exponent, mantissa in self._sums.items())


def results_of(stored: bytes) -> int:
    """Return the number of results in the stored form of merged statistics."""
    return int(_RESULTS.unpack_from(stored)[0])


def _mantissa_and_exponent(number: float) -> tuple[int, int]:
    """Return two integers. The product `mantissa * 2**exponent` is exactly `number`."""
    fraction, exponent = frexp(number)
    return int(ldexp(fraction, _MANTISSA_BITS)), exponent - _MANTISSA_BITS


def _encode_sum(sums: Mapping[int, int], power: int) -> bytes:
    """Return the stored form of the sum of m * 2**(power * e), for each exponent e and integer m in `sums`."""
    exponent = min(sums, default=0)
    total = sum(mantissa << power * (each - exponent) for each, mantissa in sums.items())
    length = total.bit_length() // 8 + 1
    return _SUM.pack(exponent, length) + total.to_bytes(length, "little", signed=True)


def _decode_sum(stored: bytes, position: int) -> tuple[int, int, int]:
    """Return the exponent and the integer of the exact sum at a position, and the position after it."""
    exponent, length = _SUM.unpack_from(stored, position)
    start = position + _SUM.size
    end = start + length
    return exponent, int.from_bytes(stored[start:end], "little", signed=True), end
