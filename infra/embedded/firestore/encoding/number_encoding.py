"""Numbers of every type as bytes with one exact order.

Integers, doubles and decimals are one type to Firestore, yet most 64-bit integers and decimals are no
doubles. So a number is written as the greatest double that does not exceed it and, unless that is the
number itself, how far it lies towards the next double. 64 bits of that tell any two numbers apart:
neighbours among 64-bit integers lie at least 1/1024 of the way apart, among decimals of 34 digits 2**-61.
"""

import math
import struct
from decimal import Decimal
from fractions import Fraction

TAG = b"\x14"
NAN = TAG + b"\x00"

_NUMBER = TAG + b"\x01"
_EXACT = b"\x00"
_BETWEEN = b"\x01"
_double = struct.Struct(">d")
_unsigned = struct.Struct(">Q")
_SIGN = 1 << 63
_ALL = (1 << 64) - 1
_CONTIGUOUS = 1 << 53


def encode_coordinate(number: float) -> bytes:
    """Return the eight bytes of a double that is not NaN."""
    (bits,) = _unsigned.unpack(_double.pack(number + 0.0))
    return _unsigned.pack(bits ^ _ALL if bits & _SIGN else bits | _SIGN)


def encode_double(number: float) -> bytes:
    """Return the bytes of a double."""
    if number != number:
        return NAN
    return _NUMBER + encode_coordinate(number) + _EXACT


def encode_integer(number: int) -> bytes:
    """Return the bytes of a 64-bit integer."""
    if -_CONTIGUOUS <= number <= _CONTIGUOUS:
        return encode_double(float(number))
    return _encode_fraction(Fraction(number))


def encode_decimal(number: Decimal) -> bytes:
    """Return the bytes of a decimal."""
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
        way = _ALL  # beyond all doubles, where decimals are not told apart any more
    else:
        way = int((number - Fraction(floor)) / (Fraction(ceiling) - Fraction(floor)) * (_ALL + 1))
    return _NUMBER + encode_coordinate(floor) + _BETWEEN + _unsigned.pack(way)
