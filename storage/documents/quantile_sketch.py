"""A quantile sketch: counts of values in bins whose widths grow with the values (DDSketch, VLDB 2019).

Sketches can be merged: the sum of the sketches of some samples is the sketch of all values of these samples. The
relative error of a value in a sketch is at most `RELATIVE_ERROR`.

The bin k contains the values greater than GAMMA**(k - 1) and up to GAMMA**k. Negative values have separate bins, by
their magnitude. Zeros are counted separately. If a sketch has more than `MAX_BINS` bins, each pair of neighboring bins
becomes one bin, and GAMMA is squared. This raises the *level* of the sketch and its error. It never happens if all
values have the same sign and differ by a factor of less than 10**17.

A sketch is stored as a header, the keys of the bins relative to the first key of their sign, and the counts of the
bins. A sketch of few values has no counts: each key then stands for one value.
"""

import struct
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import atanh, ceil, floor, inf, ldexp, log2, tanh

RELATIVE_ERROR = 0.01
BINS_PER_DOUBLING = 1 / log2((1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR))
"""1 / log2(GAMMA)."""
MAX_BINS = 2_048

_HEADER = struct.Struct("<BccHQii")
"""The level, the types of keys and counts, the number of negative keys, the zeros, and a base of the keys per sign."""
_NO_COUNTS = b"-"
_MAX_PENDING_BYTES = 8_192

Bins = dict[int, int]
"""The number of values by key."""


@dataclass(slots=True)
class QuantileSketch:
    """The bins of negative values, the number of zeros, and the bins of positive values."""

    negative: Bins = field(default_factory=dict)
    zeros: int = 0
    positive: Bins = field(default_factory=dict)
    level: int = 0

    def encode(self) -> bytes:
        """Return the stored form. Raises the level until there are at most `MAX_BINS` bins."""
        sketch = self.limited()
        negative, positive = sorted(sketch.negative), sorted(sketch.positive)
        bases = min(negative, default=0), min(positive, default=0)
        key_type, keys = _to_bytes([key - bases[0] for key in negative] + [key - bases[1] for key in positive])
        counts = [*map(sketch.negative.__getitem__, negative), *map(sketch.positive.__getitem__, positive)]
        count_type, counts_bytes = _to_bytes(counts)
        header = _HEADER.pack(sketch.level, key_type, count_type, len(negative), sketch.zeros, *bases)
        return header + keys + counts_bytes

    @classmethod
    def decode(cls, stored: bytes) -> "QuantileSketch":
        """Return the sketch with this stored form."""
        sketch = cls(level=stored[0])
        sketch.add_stored(stored)
        return sketch

    def add_stored(self, stored: bytes) -> None:
        """Add the counts of a sketch in its stored form, which must have the same level."""
        _, key_type, count_type, negative_keys, zeros, *bases = _HEADER.unpack_from(stored)
        body = stored[_HEADER.size :]
        counts: Iterator[int] | None = None
        if count_type != _NO_COUNTS:
            key_size, count_size = _size(key_type), _size(count_type)
            end = len(body) // (key_size + count_size) * key_size
            body, counts = body[:end], iter(_from_bytes(count_type, body[end:]))
        keys = _from_bytes(key_type, body)
        self.zeros += zeros
        for base, part, bins in (
            (bases[0], keys[:negative_keys], self.negative),
            (bases[1], keys[negative_keys:], self.positive),
        ):
            for key, count in Counter(part).items() if counts is None else zip(part, counts, strict=False):
                bins[base + key] = bins.get(base + key, 0) + count

    def add(self, other: "QuantileSketch") -> None:
        """Add the counts of a sketch, which must have the same level."""
        self.zeros += other.zeros
        for bins, added in ((self.negative, other.negative), (self.positive, other.positive)):
            for key, count in added.items():
                bins[key] = bins.get(key, 0) + count

    def limited(self) -> "QuantileSketch":
        """Return the sketch at the lowest level with at most `MAX_BINS` bins."""
        sketch = self
        while len(sketch.negative) + len(sketch.positive) > MAX_BINS:
            sketch = sketch.raised(sketch.level + 1)
        return sketch

    def raised(self, level: int) -> "QuantileSketch":
        """Return the sketch at `level`, which must not be below its own level."""
        if level == self.level:
            return self
        negative, positive = (_united(bins, level - self.level) for bins in (self.negative, self.positive))
        return QuantileSketch(negative, self.zeros, positive, level)

    def quantiles(self, percents: Iterable[int]) -> Iterator[float]:
        """Yield the quantile at each of `percents`. Requires at least one value.

        As for a single result, a quantile is interpolated linearly between two values. The relative error of each of
        these values is at most `relative_error`, so a quantile near the largest double can be infinite.
        """
        negative, positive = sorted(self.negative, reverse=True), sorted(self.positive)
        counts = [*map(self.negative.__getitem__, negative), self.zeros, *map(self.positive.__getitem__, positive)]
        ends = list(accumulate(counts))

        def value_at(position: int) -> float:
            index = bisect_right(ends, position) - len(negative)  # 0 is the index of the zeros
            if index < 0:
                return -_value(negative[index], self.level)
            return _value(positive[index - 1], self.level) if index else 0.0

        for percent in percents:
            position, fraction = divmod((ends[-1] - 1) * percent, 100)
            low = value_at(position)
            high = value_at(position + 1) if fraction else low
            yield low if low == high else low * (1 - fraction / 100) + high * (fraction / 100)

    @property
    def relative_error(self) -> float:
        """The largest relative error of a value."""
        return tanh(atanh(RELATIVE_ERROR) * 2**self.level)


class MergedSketch:
    """The sum of stored sketches. Its memory does not grow with the number of sketches."""

    def __init__(self) -> None:
        self._stored: list[bytes] = []
        self._size = self._merged_size = 0

    @property
    def byte_count(self) -> int:
        """The size of the sketches in memory."""
        return self._size

    def add(self, stored: bytes) -> None:
        """Add a stored sketch."""
        self._stored.append(stored)
        self._size += len(stored)
        if self._size > self._merged_size + _MAX_PENDING_BYTES:
            self._unite()

    def merge(self, other: "MergedSketch") -> None:
        """Add the sketches of `other`."""
        other._unite()
        for stored in other._stored:
            self.add(stored)

    def sum(self) -> QuantileSketch:
        """Return the sum of all added sketches."""
        total = QuantileSketch(level=max((stored[0] for stored in self._stored), default=0))
        for stored in self._stored:
            if stored[0] == total.level:
                total.add_stored(stored)
            else:
                total.add(QuantileSketch.decode(stored).raised(total.level))
        return total

    def _unite(self) -> None:
        """Replace several sketches by their sum."""
        if len(self._stored) > 1:
            self._stored = [self.sum().encode()]
            self._size = self._merged_size = len(self._stored[0])


def encode_values(values: Sequence[float]) -> bytes:
    """Return the stored sketch of at least one and up to 65,535 values in ascending order.

    Storing one key per value is faster than counting keys. Keys are relative to the bin before the bin of the smallest
    magnitude: a rounded logarithm can be smaller than the logarithm of a smaller value.
    """
    zeros_start = zeros_end = 0
    if values[0] <= 0.0:
        zeros_start, zeros_end = bisect_left(values, 0.0), bisect_right(values, 0.0)
    negative_base = positive_base = 0
    keys = []
    scale = BINS_PER_DOUBLING
    if zeros_start:
        negative_base = key_of(-values[zeros_start - 1]) - 1
        keys = [ceil(log2(-value) * scale) - negative_base for value in values[:zeros_start]]
    if zeros_end < len(values):
        positive_base = key_of(values[zeros_end]) - 1
        keys += [ceil(log2(value) * scale) - positive_base for value in (values[zeros_end:] if zeros_end else values)]
    key_type, keys_bytes = _to_bytes(keys)
    zeros = zeros_end - zeros_start
    return _HEADER.pack(0, key_type, _NO_COUNTS, zeros_start, zeros, negative_base, positive_base) + keys_bytes


def key_of(magnitude: float) -> int:
    """Return the key of the bin of a positive value."""
    return ceil(log2(magnitude) * BINS_PER_DOUBLING)


def _united(bins: Mapping[int, int], levels: int) -> Bins:
    united: Bins = {}
    for key, count in bins.items():
        new = -(-key >> levels)  # rounded up
        united[new] = united.get(new, 0) + count
    return united


def _value(key: int, level: int) -> float:
    """Return the value in a bin that has the same relative distance from both edges."""
    doublings = 2**level / BINS_PER_DOUBLING
    exponent = key * doublings + 1 - log2(1 + 2**doublings)
    whole = floor(exponent)
    try:
        return ldexp(2 ** (exponent - whole), whole)
    except OverflowError:
        return inf


def _to_bytes(integers: Sequence[int]) -> tuple[bytes, bytes]:
    """Return the type of the integers, as in the module `struct`, and their bytes."""
    largest = max(integers, default=0)
    if largest < 1 << 8:
        return b"B", bytes(integers)
    code = "H" if largest < 1 << 16 else "I" if largest < 1 << 32 else "Q"
    return code.encode(), struct.pack(f"<{len(integers)}{code}", *integers)


def _from_bytes(code: bytes, stored: bytes) -> Sequence[int]:
    return stored if code == b"B" else struct.unpack(f"<{len(stored) // _size(code)}{code.decode()}", stored)


def _size(code: bytes) -> int:
    return struct.calcsize(f"<{code.decode()}")
