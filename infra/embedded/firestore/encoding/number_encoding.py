"""Integers, doubles and decimals as bytes that sort in one exact numeric order.

Many 64-bit integers and decimals are not exact doubles. A number is therefore encoded as the largest double that does
not exceed the number (the floor). If the number and the floor differ, a 64-bit fraction follows. The fraction is the
distance from the floor to the number, relative to the distance from the floor to the next double. 64 bits distinguish
all numbers: fractions of adjacent 64-bit integers differ by at least 1/1024, and fractions of adjacent decimals of 34
digits by 2**-61.
"""

import math
import struct
from decimal import Decimal
from fractions import Fraction

TAG = b"\x14"
NAN = TAG + b"\x00"

_NUMBER = TAG + b"\x01"
_EXACT = b"\x00"
_INEXACT = b"\x01"
_double = struct.Struct(">d")
_unsigned = struct.Struct(">Q")
_SIGN = 1 << 63
_MAX_UNSIGNED = (1 << 64) - 1
_MAX_EXACT_INTEGER = 1 << 53


def encode_coordinate(number: float) -> bytes:
    """Return a double as eight bytes that sort. The double must not be NaN."""
    (bits,) = _unsigned.unpack(_double.pack(number + 0.0))
    return _unsigned.pack(bits ^ _MAX_UNSIGNED if bits & _SIGN else bits | _SIGN)


def encode_double(number: float) -> bytes:
    """Return a double as bytes that sort."""
    if number != number:
        return NAN
    return _NUMBER + encode_coordinate(number) + _EXACT


def is_exact(encoded: bytes) -> bool:
    """Return whether a value is a number whose encoding has no fraction. All these encodings have the same size."""
    return encoded.startswith(_NUMBER) and encoded[len(_NUMBER) + _double.size :] == _EXACT


def encode_integer(number: int) -> bytes:
    """Return a 64-bit integer as bytes that sort."""
    if -_MAX_EXACT_INTEGER <= number <= _MAX_EXACT_INTEGER:
        return encode_double(float(number))
    return _encode_fraction(Fraction(number))


def encode_decimal(number: Decimal) -> bytes:
    """Return a decimal as bytes that sort."""
    if not number.is_finite():
        return encode_double(float(number))
    return _encode_fraction(Fraction(number))


def _encode_fraction(number: Fraction) -> bytes:
    try:
        floor = float(number)
    except OverflowError:
        floor = -math.inf if number < 0 else math.nextafter(math.inf, 0.0)
    if floor > number:
        floor = math.nextafter(floor, -math.inf)
    if floor == number:
        return encode_double(floor)
    ceiling = math.nextafter(floor, math.inf)
    if math.isinf(floor) or math.isinf(ceiling):
        fraction = _MAX_UNSIGNED  # decimals beyond the range of doubles are not distinguished
    else:
        distance = (number - Fraction(floor)) / (Fraction(ceiling) - Fraction(floor))
        fraction = int(distance * (_MAX_UNSIGNED + 1))
    return _NUMBER + encode_coordinate(floor) + _INEXACT + _unsigned.pack(fraction)
