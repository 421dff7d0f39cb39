"""Limits of a document: names, types, nesting and sizes. Rules and messages are the same as in production.

One pass over the fields computes the billed bytes, which differ from the protobuf size. The same pass raises
`StatusError` for values that cannot be stored, and truncates timestamps to microseconds.
"""

import math
import re
from functools import lru_cache

from infra.embedded.firestore.encoding import bson, field_paths, resource_names, values
from infra.embedded.firestore.errors import invalid_argument
from infra.embedded.firestore.messages import Fields, Timestamp, Value, microseconds

MAX_DOCUMENT_BYTES = 1_048_576
MAX_VALUE_BYTES = MAX_DOCUMENT_BYTES - 89
MAX_REQUEST_BYTES = 10 * 1024 * 1024
MAX_BATCH_WRITES = 500
MAX_TRANSFORMS = 500  # of one document in a commit
MAX_VALUE_DEPTH = 20
MAX_VECTOR_DIMENSIONS = 2048
TIMESTAMP_BYTES = 8

_DOCUMENT_OVERHEAD = 32
_NAME_OVERHEAD = 16
_MIN_SECONDS, _MAX_SECONDS = -62_135_596_800, 253_402_300_799
_reserved = re.compile(r"__.*__", re.DOTALL)
_FIXED_SIZES = {"double_value": 8, "integer_value": 8, "boolean_value": 1, "null_value": 1}
_NUMBERS = {"double_value", "integer_value"}


def name_size(segments: tuple[str, ...]) -> int:
    """Return the billed bytes of a document name."""
    return len("/".join((*segments, "")).encode()) + _NAME_OVERHEAD


def check_document(name: resource_names.ResourceName, fields: Fields) -> int:
    """Return the billed bytes of a document, or raise `StatusError` if it cannot be stored."""
    size = name_size(name.segments) + _DOCUMENT_OVERHEAD + _fields_size(fields, 1, 0)
    if size > MAX_DOCUMENT_BYTES:
        raise invalid_argument(
            f"Document '{name}' cannot be written because its size ({size:,} bytes) exceeds the maximum "
            f"allowed size of {MAX_DOCUMENT_BYTES:,} bytes."
        )
    return size


@lru_cache(maxsize=4096)
def check_field_name(name: str) -> int:
    """Return the billed bytes of a field name, or raise `StatusError`."""
    if not name:
        raise invalid_argument("Property name is the empty string.")
    if name.startswith("__") and _reserved.fullmatch(name):
        raise invalid_argument(f'Property name "{name}" is reserved because it matches the pattern "__.*__".')
    size = len(name.encode())
    if size > resource_names.MAX_ID_BYTES:
        raise invalid_argument(f"Property name is longer than {resource_names.MAX_ID_BYTES} bytes.")
    return size + 1


def check_operand(value: Value, name: str) -> int:
    """Return the billed bytes of a value that a query or a transform compares with. Truncate its timestamps.

    Raise `StatusError` if the value is not valid.

    `name` is the property, for errors.
    """
    value_type = value.WhichOneof("value_type")
    if value_type is None:
        raise invalid_argument("Cannot convert firestore.v1.Value with type unset.")
    return value_size(value, value_type, name)


def _fields_size(fields: Fields, depth: int, parent_bytes: int) -> int:
    """Return the billed bytes of the fields of a map. `parent_bytes` is the length of its path, with a dot after it."""
    size = 0
    for name in fields:  # `items` takes twice as long
        value = fields[name]
        value_type = value.WhichOneof("value_type")
        name_bytes = check_field_name(name)  # one byte more than the name, which stands for the dot
        path_bytes = parent_bytes + name_bytes
        if path_bytes > field_paths.MAX_PATH_BYTES + 1:
            raise invalid_argument(f'The path of property "{name}" is longer than {field_paths.MAX_PATH_BYTES} bytes.')
        size += name_bytes + (_FIXED_SIZES.get(value_type) or value_size(value, value_type, name, depth, path_bytes))
    return size


def value_size(value: Value, value_type: str | None, name: str, depth: int = 1, path_bytes: int = 0) -> int:
    """Return the billed bytes of a value, or raise `StatusError`. `name` is the property, for errors.

    `path_bytes` is the length of the path of the value, with a dot at its end. It is 0 for a value that a query
    compares with. Such a value can be a vector with NaN.
    """
    if value_type == "string_value" or value_type == "bytes_value":
        size = len(value.string_value.encode()) + 1 if value_type == "string_value" else len(value.bytes_value)
        if size > MAX_VALUE_BYTES:
            raise invalid_argument(f'The value of property "{name}" is longer than {MAX_VALUE_BYTES} bytes.')
        return size
    if value_type == "timestamp_value":
        _check_timestamp(value.timestamp_value, name)
        return TIMESTAMP_BYTES
    if value_type == "map_value" or value_type == "array_value":
        if depth > MAX_VALUE_DEPTH:
            raise invalid_argument(f'Property "{name}" is nested deeper than {MAX_VALUE_DEPTH} levels.')
        container_size = _map_size if value_type == "map_value" else _array_size
        return container_size(value, name, depth, path_bytes)
    if value_type == "reference_value":
        return name_size(resource_names.parse_reference(value.reference_value).segments)
    if value_type == "geo_point_value":
        point = value.geo_point_value
        if not (-90 <= point.latitude <= 90 and -180 <= point.longitude <= 180):
            raise invalid_argument(f'Property "{name}" is a geo point outside of -90..90 degrees by -180..180 degrees.')
        return 16
    if value_type in _FIXED_SIZES:
        return _FIXED_SIZES[value_type]
    raise invalid_argument(f'Property "{name}" holds a value of a type that cannot be stored.')


def _map_size(value: Value, name: str, depth: int, path_bytes: int) -> int:
    fields = value.map_value.fields
    if values.is_vector(value):
        if len(fields) > 2:
            raise invalid_argument(f'Vector in property "{name}" must not have other members.')
        components = fields["value"].array_value.values
        dimensions = len(components)
        if not 1 <= dimensions <= MAX_VECTOR_DIMENSIONS:
            raise invalid_argument(f'Vector in property "{name}" must have 1 to {MAX_VECTOR_DIMENSIONS} dimensions.')
        if any(component.WhichOneof("value_type") != "double_value" for component in components):
            raise invalid_argument(f'Vector in property "{name}" must hold doubles.')
        if path_bytes and any(math.isnan(component.double_value) for component in components):
            raise invalid_argument("Vector cannot contain NaN values.")
        return 8 * dimensions
    key = bson.type_key(fields)
    if key is not None:
        return bson.check_value(key, fields[key], name)
    return _fields_size(fields, depth + 1, path_bytes)


def _array_size(value: Value, name: str, depth: int, path_bytes: int) -> int:
    size = 0
    elements = value.array_value.values
    if {element.WhichOneof("value_type") for element in elements} <= _NUMBERS:
        return 8 * len(elements)
    for element in elements:
        value_type = element.WhichOneof("value_type")
        if value_type == "array_value":
            raise invalid_argument("Cannot convert an array value in an array value.")
        if value_type == "map_value" and values.is_vector(element):
            raise invalid_argument("Cannot convert a vector value in an array value.")
        size += _FIXED_SIZES.get(value_type) or value_size(element, value_type, name, depth + 1, path_bytes)
    return size


def version_time(timestamp: Timestamp) -> int:
    """Return the microseconds since the epoch of a time of a version in a request, or raise `StatusError`."""
    if not (0 <= timestamp.seconds <= _MAX_SECONDS and 0 <= timestamp.nanos < 1_000_000_000):
        raise invalid_argument("Only timestamps past epoch are supported.")
    if timestamp.nanos % 1000:
        raise invalid_argument("timestamp cannot have more than microseconds precision")
    return microseconds(timestamp)


def _check_timestamp(timestamp: Timestamp, name: str) -> None:
    """Raise if a timestamp is out of range, and truncate it to microseconds."""
    if not (_MIN_SECONDS <= timestamp.seconds <= _MAX_SECONDS and 0 <= timestamp.nanos < 1_000_000_000):
        raise invalid_argument(f'Property "{name}" is a timestamp outside of the years 1 to 9999.')
    if excess := timestamp.nanos % 1000:
        timestamp.nanos -= excess
