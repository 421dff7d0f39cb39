"""Value messages as bytes that sort in Firestore's order of values.

Filters, orders, cursors and index entries compare these bytes, in memory and in SQLite. No encoding is a prefix of
another encoding, so encodings can be concatenated into a key. For a descending field, the key contains inverted bytes.
"""

import struct
import sys
from collections.abc import Callable, Iterable

from infra.embedded.firestore.encoding import bson, number_encoding, path_encoding, resource_names
from infra.embedded.firestore.errors import invalid_argument
from infra.embedded.firestore.messages import Value

MAX_INDEXED_BYTES = 1500

NULL, BOOLEAN, TIMESTAMP, STRING, BYTES = b"\x05", b"\x0a", b"\x19", b"\x1e", b"\x23"
REFERENCE, GEO_POINT, ARRAY, VECTOR, MAP = b"\x28", b"\x2d", b"\x32", b"\x37", b"\x3c"
END = b"\x00"

_seconds_and_nanos = struct.Struct(">QI")
_SIGN = 1 << 63
_inverted_bytes = bytes(255 - byte for byte in range(256))


def encode(value: Value) -> bytes:
    """Return a value as bytes that sort."""
    return _encode(value, sys.maxsize)


def encode_indexed(value: Value) -> bytes:
    """Return a value in the form of an index: bytes that sort, truncated to `MAX_INDEXED_BYTES` as in production."""
    return _encode(value, MAX_INDEXED_BYTES)[:MAX_INDEXED_BYTES]


def invert(encoded: bytes) -> bytes:
    """Invert every bit, so that encodings sort in the opposite order."""
    return encoded.translate(_inverted_bytes)


def type_prefix(encoded: bytes) -> bytes:
    """Return the prefix that all values of the same type share. Comparisons treat NaN as a separate type."""
    return encoded[:2] if encoded.startswith(number_encoding.TAG) else encoded[:1]


def is_vector(value: Value) -> bool:
    """Return whether a map is a vector."""
    fields = value.map_value.fields
    return "__type__" in fields and fields["__type__"].string_value == "__vector__" and "value" in fields


def is_typed_map(value: Value) -> bool:
    """Return whether a map is a vector or a BSON value. Such a map has no nested fields."""
    return is_vector(value) or bson.type_key(value.map_value.fields) is not None


def encode_reference(name: str) -> bytes:
    """Return a reference to the document `name` as bytes that sort."""
    reference = resource_names.parse(name)
    _, project, _, database = reference.database.split("/")
    prefix = path_encoding.encode_segment(project) + path_encoding.encode_segment(database)
    return REFERENCE + prefix + reference.path + END


def _encode(value: Value, limit: int) -> bytes:
    """Return the encoding of a value, of which only the first `limit` bytes are used. The rest may be wrong.

    The time to index a large value therefore does not depend on its size.
    """
    value_type = value.WhichOneof("value_type")
    if value_type is None:
        raise invalid_argument("Cannot convert firestore.v1.Value with type unset.")
    return _encoders[value_type](value, limit)


def _joined(parts: Iterable[bytes], limit: int) -> bytes:
    """Return the concatenation of the first parts that have `limit` bytes together, or of all parts."""
    joined = bytearray()
    for part in parts:
        joined += part
        if len(joined) >= limit:
            break
    return bytes(joined)


def _encode_array(value: Value, limit: int) -> bytes:
    return ARRAY + _joined((_encode(each, limit) for each in value.array_value.values), limit) + END


def _encode_map(value: Value, limit: int) -> bytes:
    fields = value.map_value.fields
    if is_vector(value):
        elements = fields["value"].array_value.values
        return VECTOR + len(elements).to_bytes(4, "big") + _joined((_encode(each, limit) for each in elements), limit)
    key = bson.type_key(fields)
    if key is not None:
        return bson.encode(key, fields[key])
    names = sorted(fields, key=str.encode)
    entries = (STRING + path_encoding.encode_text(name) + _encode(fields[name], limit) for name in names)
    return MAP + _joined(entries, limit) + END


def _encode_timestamp(value: Value, limit: int) -> bytes:
    timestamp = value.timestamp_value
    return TIMESTAMP + _seconds_and_nanos.pack(timestamp.seconds + _SIGN, timestamp.nanos)


def _encode_geo_point(value: Value, limit: int) -> bytes:
    point = value.geo_point_value
    return (
        GEO_POINT
        + number_encoding.encode_coordinate(point.latitude)
        + number_encoding.encode_coordinate(point.longitude)
    )


_encoders: dict[str, Callable[[Value, int], bytes]] = {
    "null_value": lambda value, limit: NULL,
    "boolean_value": lambda value, limit: BOOLEAN + (b"\x01" if value.boolean_value else b"\x00"),
    "integer_value": lambda value, limit: number_encoding.encode_integer(value.integer_value),
    "double_value": lambda value, limit: number_encoding.encode_double(value.double_value),
    "timestamp_value": _encode_timestamp,
    "string_value": lambda value, limit: STRING + path_encoding.encode_text(value.string_value[:limit]),
    "bytes_value": lambda value, limit: BYTES + path_encoding.encode_bytes(value.bytes_value[:limit]),
    "reference_value": lambda value, limit: encode_reference(value.reference_value),
    "geo_point_value": _encode_geo_point,
    "array_value": _encode_array,
    "map_value": _encode_map,
}
