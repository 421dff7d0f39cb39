"""What may be in a document, and how much of it: production's rules, sizes and words.

One walk over the fields counts their bytes as Firestore bills them (not as protobuf packs them), refuses
what no document may hold, and cuts time stamps to the microseconds that Firestore keeps.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from infra.embedded.firestore.encoding import bson, resource_names, values
from infra.embedded.firestore.errors import invalid_argument

MAX_DOCUMENT_BYTES = 1_048_576
MAX_VALUE_BYTES = MAX_DOCUMENT_BYTES - 89
MAX_REQUEST_BYTES = 10 * 1024 * 1024
MAX_BATCH_WRITES = 500
MAX_VALUE_DEPTH = 20
MAX_VECTOR_DIMENSIONS = 2048

_DOCUMENT_OVERHEAD = 32
_NAME_OVERHEAD = 16
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
_reserved = re.compile(r"__.*__", re.DOTALL)
_plain = re.compile(r"[a-zA-Z][a-zA-Z_0-9]*")
_FIXED = {"double_value": 8, "integer_value": 8, "boolean_value": 1, "null_value": 1}
_NUMBERS = {"double_value", "integer_value"}


def name_size(segments: tuple[str, ...]) -> int:
    """Return the bytes that a document's name counts for."""
    return len("/".join((*segments, "")).encode()) + _NAME_OVERHEAD


def check_document(name: resource_names.ResourceName, fields: Any) -> int:
    """Refuse fields that cannot be stored under this name, or return the bytes that name and fields count for."""
    size = name_size(name.segments) + _DOCUMENT_OVERHEAD + _fields_size(fields, 1)
    if size > MAX_DOCUMENT_BYTES:
        raise invalid_argument(
            f"Document '{name}' cannot be written because its size ({size:,} bytes) exceeds the maximum "
            f"allowed size of {MAX_DOCUMENT_BYTES:,} bytes."
        )
    return size


@lru_cache(maxsize=4096)
def check_field_name(name: str) -> int:
    """Return the bytes that a field's name counts for, or refuse it."""
    if not name:
        raise invalid_argument("Property name is the empty string.")
    if name.startswith("__") and _reserved.fullmatch(name):
        raise invalid_argument(f'Property name "{name}" is reserved because it matches the pattern "__.*__".')
    size = len(name.encode())
    if size > resource_names.MAX_ID_BYTES:
        raise invalid_argument(f"Property name is longer than {resource_names.MAX_ID_BYTES} bytes.")
    return size + 1


def _fields_size(fields: Any, depth: int) -> int:
    size = 0
    for name in fields:  # not by `items`, which takes twice as long
        value = fields[name]
        kind = value.WhichOneof("value_type")
        size += check_field_name(name) + (_FIXED.get(kind) or value_size(value, kind, name, depth))
    return size


def value_size(value: Any, kind: str | None, name: str, depth: int = 1) -> int:
    """Return the bytes that a value counts for; `name` is the field that a refusal speaks of."""
    if kind == "string_value" or kind == "bytes_value":
        size = len(value.string_value.encode()) + 1 if kind == "string_value" else len(value.bytes_value)
        if size > MAX_VALUE_BYTES:
            raise invalid_argument(f'The value of property "{name}" is longer than {MAX_VALUE_BYTES} bytes.')
        return size
    if kind == "timestamp_value":
        _check_moment(value.timestamp_value, name)
        return 8
    if kind == "map_value" or kind == "array_value":
        if depth > MAX_VALUE_DEPTH:
            raise invalid_argument(f'Property "{name}" is nested deeper than {MAX_VALUE_DEPTH} levels.')
        return _map_size(value, name, depth) if kind == "map_value" else _array_size(value, name, depth)
    if kind == "reference_value":
        return name_size(resource_names.parse(value.reference_value).segments)
    if kind == "geo_point_value":
        point = value.geo_point_value
        if not (-90 <= point.latitude <= 90 and -180 <= point.longitude <= 180):
            raise invalid_argument(f'Property "{name}" is a geo point outside of -90..90 degrees by -180..180 degrees.')
        return 16
    if kind in _FIXED:
        return _FIXED[kind]
    raise invalid_argument(f'Property "{name}" holds no value that can be stored.')


def _map_size(value: Any, name: str, depth: int) -> int:
    fields = value.map_value.fields
    if values.is_vector(value):
        dimensions = len(fields["value"].array_value.values)
        if not 1 <= dimensions <= MAX_VECTOR_DIMENSIONS:
            raise invalid_argument(f'Vector in property "{name}" must have 1 to {MAX_VECTOR_DIMENSIONS} dimensions.')
        if any(element.WhichOneof("value_type") != "double_value" for element in fields["value"].array_value.values):
            raise invalid_argument(f'Vector in property "{name}" must hold doubles.')
        return 8 * dimensions
    key = bson.type_key(fields)
    if key is not None:
        return bson.check_value(key, fields[key], name)
    return _fields_size(fields, depth + 1)


def _array_size(value: Any, name: str, depth: int) -> int:
    size = 0
    elements = value.array_value.values
    if {element.WhichOneof("value_type") for element in elements} <= _NUMBERS:
        return 8 * len(elements)
    for element in elements:
        kind = element.WhichOneof("value_type")
        if kind == "array_value":
            raise invalid_argument("Cannot convert an array value in an array value.")
        if kind == "map_value" and values.is_vector(element):
            raise invalid_argument("Cannot convert a vector value in an array value.")
        size += _FIXED.get(kind) or value_size(element, kind, name, depth + 1)
    return size


def server_times_size(transforms: Iterable[Any]) -> int | None:
    """Return the most that fields count for which are set to the time of a request; None for other transforms."""
    size = 0
    for transform in transforms:
        path = transform.field_path
        if transform.WhichOneof("transform_type") != "set_to_server_value" or not _plain.fullmatch(path):
            return None
        size += len(path) + 1 + 8
    return size


def _check_moment(moment: Any, name: str) -> None:
    if not (_FIRST_SECOND <= moment.seconds <= _LAST_SECOND and 0 <= moment.nanos < 1_000_000_000):
        raise invalid_argument(f'Property "{name}" is a timestamp outside of the years 1 to 9999.')
    if excess := moment.nanos % 1000:
        moment.nanos -= excess
