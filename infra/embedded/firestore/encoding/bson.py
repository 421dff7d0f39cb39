"""BSON types. A client writes a BSON value as a map with one reserved key.

Production supports BSON types in databases of the Enterprise edition. This server supports them in every database. A
map is a BSON value if its only key is one of the reserved keys. Other maps must not use these keys.
"""

import decimal
import re
from collections.abc import Callable
from typing import Any

from infra.embedded.firestore.encoding import number_encoding, path_encoding
from infra.embedded.firestore.errors import invalid_argument

MIN_KEY, TIMESTAMP, BINARY, OBJECT_ID, REGEX, MAX_KEY = b"\x07", b"\x1b", b"\x25", b"\x2a", b"\x2f", b"\x3e"
REGEX_OPTIONS = "imsux"
MIN_EXPONENT, MAX_EXPONENT = -6_176, 6_144
"""The smallest exponent of the last digit of a 128-bit decimal, and the largest exponent of its first digit."""

_object_id = re.compile(r"[0-9a-fA-F]{24}")


def type_key(fields: Any) -> str | None:
    """Return the reserved key if a map with these fields is a BSON value, otherwise None."""
    if len(fields) != 1:
        return None
    (key,) = fields
    return key if key in _encoders else None


def encode(key: str, value: Any) -> bytes:
    """Return a BSON value as bytes that sort. `value` is the value under the reserved key."""
    return _encoders[key](value)


def check_value(key: str, value: Any, name: str) -> int:
    """Return the billed bytes of a BSON value, or raise `StatusError`. Normalize decimals in place, as production does.

    `name` is the name of the property, for error messages.
    """
    value_type, size = _value_types[key]
    if value.WhichOneof("value_type") != value_type:
        expected = value_type.removesuffix("_value")
        raise invalid_argument(f'Property "{name}" holds a "{key}" whose value is not of type {expected}.')
    if key == "__int__" and not -(1 << 31) <= value.integer_value < 1 << 31:
        raise invalid_argument(f'Property "{name}" holds a 32-bit integer that is out of range.')
    if key == "__decimal128__":
        value.string_value = _decimal_text(value.string_value, name)
    for member, part in value.map_value.fields.items():
        if part.WhichOneof("value_type") != _members[key].get(member):
            raise invalid_argument(f'Property "{name}" holds a "{key}" with an unknown member or a wrong type.')
    if key == "__oid__" and not _object_id.fullmatch(value.string_value):
        raise invalid_argument(f'Property "{name}" holds an object id that is not 24 hexadecimal digits.')
    if key == "__binary__":
        return len(value.bytes_value)
    if key == "__regex__":
        return _check_regex(value)
    return size


def _decimal_text(text: str, name: str) -> str:
    try:
        number = decimal.Decimal(text)
    except decimal.InvalidOperation:
        raise invalid_argument(f'Property "{name}" holds an invalid decimal.') from None
    if number.is_nan():
        return "NaN"
    if not number.is_finite():
        return "-Infinity" if number < 0 else "Infinity"
    if number.adjusted() > MAX_EXPONENT or int(number.as_tuple().exponent) < MIN_EXPONENT:
        raise invalid_argument(f'Property "{name}" holds a decimal that is out of range.')
    return text


def _check_regex(value: Any) -> int:
    fields = value.map_value.fields
    pattern, options = fields["pattern"].string_value, fields["options"].string_value
    for option in options:
        if option not in REGEX_OPTIONS:
            raise invalid_argument(
                f"Invalid regex option '{option}'. Supported options are 'i', 'm', 's', 'u' and 'x'."
            )
    return len(pattern.encode()) + len(options) + 2


def _text(fields: Any, name: str) -> bytes:
    return path_encoding.encode_text(fields[name].string_value if name in fields else "")


def _number(fields: Any, name: str) -> bytes:
    number = int(fields[name].integer_value) if name in fields else 0
    return (number & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "big")


def _encode_binary(value: Any) -> bytes:
    return BINARY + path_encoding.encode_bytes(value.bytes_value)


def _encode_timestamp(value: Any) -> bytes:
    fields = value.map_value.fields
    return TIMESTAMP + _number(fields, "seconds") + _number(fields, "increment")


def _encode_regex(value: Any) -> bytes:
    fields = value.map_value.fields
    return REGEX + _text(fields, "pattern") + _text(fields, "options")


_encoders: dict[str, Callable[[Any], bytes]] = {
    "__min__": lambda value: MIN_KEY,
    "__max__": lambda value: MAX_KEY,
    "__int__": lambda value: number_encoding.encode_integer(value.integer_value),
    "__decimal128__": lambda value: number_encoding.encode_decimal(decimal.Decimal(value.string_value)),
    "__oid__": lambda value: OBJECT_ID + path_encoding.encode_text(value.string_value.lower()),
    "__binary__": _encode_binary,
    "__request_timestamp__": _encode_timestamp,
    "__regex__": _encode_regex,
}
_members = {
    "__request_timestamp__": {"seconds": "integer_value", "increment": "integer_value"},
    "__regex__": {"pattern": "string_value", "options": "string_value"},
}
_value_types = {
    "__min__": ("null_value", 1),
    "__max__": ("null_value", 1),
    "__int__": ("integer_value", 4),
    "__decimal128__": ("string_value", 16),
    "__oid__": ("string_value", 12),
    "__binary__": ("bytes_value", 0),
    "__request_timestamp__": ("map_value", 8),
    "__regex__": ("map_value", 0),
}
