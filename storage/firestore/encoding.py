"""Conversion between Python values and the values of the google.firestore.v1 protocol.

This module covers the types that Dropzone stores: null, booleans, integers, doubles, times, strings, bytes,
lists and maps. Firestore distinguishes integers from doubles, so `1` and `1.0` are stored differently.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from storage.documents.retention import has_expired
from storage.documents.stored_fields import SERVER_TIME
from storage.firestore.messages import Document, Value, Write

_REQUEST_TIME = (
    Write.DESCRIPTOR.file.pool.FindEnumTypeByName("google.firestore.v1.DocumentTransform.FieldTransform.ServerValue")
    .values_by_name["REQUEST_TIME"]
    .number
)
_EPOCH = datetime.fromtimestamp(0, UTC)
_SCALARS = {
    str: "string_value",
    int: "integer_value",
    float: "double_value",
    bool: "boolean_value",
    bytes: "bytes_value",
}


def to_write(name: str, fields: Mapping[str, object]) -> Write:
    """Return a `Write` that replaces the fields of the document with the full name `name`.

    Fields with the value `SERVER_TIME` become server-time transforms. The write has no precondition.
    """
    write = Write()
    write.update.name = name
    stored = write.update.fields
    for key, value in fields.items():
        if value is SERVER_TIME:
            write.update_transforms.add(field_path=key, set_to_server_value=_REQUEST_TIME)
        else:
            _fill(stored[key], value)
    return write


def to_conditional_write(name: str, fields: Mapping[str, object], update_time: datetime | None) -> Write:
    """Return a write that requires that the document has this update time, or does not exist if it is None."""
    write = to_write(name, fields)
    if update_time is None:
        write.current_document.exists = False
    else:
        write.current_document.update_time.FromDatetime(update_time)
    return write


def to_partial_write(name: str, fields: Mapping[str, object]) -> Write:
    """Return a write that replaces only the given fields. All other fields of the document stay unchanged."""
    write = to_write(name, fields)
    write.update_mask.SetInParent()  # without a mask, the write would replace the whole document
    write.update_mask.field_paths.extend(write.update.fields)
    return write


def to_delete(name: str) -> Write:
    """Return a `Write` that deletes the document with the full name `name`."""
    return Write(delete=name)


def to_value(value: object) -> Value:
    """Return a protocol `Value`, for a filter or a cursor."""
    message = Value()
    _fill(message, value)
    return message


def from_document(document: Document) -> dict[str, object]:
    """Return the fields of a protocol `Document` as Python values. Times are in UTC."""
    fields = document.fields
    return {key: from_value(fields[key]) for key in fields}  # `items` is slow


def from_value(value: Value) -> object:
    """Return a protocol `Value` as a Python value. Times are in UTC."""
    if number := value.double_value:  # most values of a result are doubles, and only a double has this field
        return number
    kind = value.WhichOneof("value_type")
    if kind == "timestamp_value":
        return to_datetime(value.timestamp_value)
    if kind == "map_value":
        members = value.map_value.fields
        return {key: from_value(members[key]) for key in members}
    if kind == "array_value":
        return [each.double_value or each.integer_value or from_value(each) for each in value.array_value.values]
    return None if kind == "null_value" else getattr(value, kind)


def field_value(document: Any, name: str) -> object:
    """Return the value of a field of a protocol `Document`, or of a document with encoded values."""
    value = document.fields[name]
    return from_value(Value.FromString(value) if isinstance(value, bytes) else value)


def field_time(document: Document, name: str) -> datetime:
    """Return the time in a field of a protocol `Document`."""
    return to_datetime(document.fields[name].timestamp_value)


def is_expired(document: Document, now: datetime) -> bool:
    """Return whether a document with an optional time `expire_at` has expired at `now`, a time of Firestore's clock."""
    return "expire_at" in document.fields and has_expired(field_time(document, "expire_at"), now)


def to_datetime(timestamp: Any) -> datetime:
    """Return a protobuf `Timestamp` as a time in UTC, truncated to microseconds."""
    return _EPOCH + timedelta(0, timestamp.seconds, timestamp.nanos // 1_000)


def _fill(message: Value, value: object) -> None:
    if (field := _SCALARS.get(type(value))) is not None:
        setattr(message, field, value)
        return
    match value:
        case list() | tuple():
            message.array_value.SetInParent()
            add = message.array_value.values.add
            for element in value:
                kind = type(element)  # `add` is three times as fast as `_fill`, and most elements have these types
                if kind is float:
                    add(double_value=element)
                elif kind is int:
                    add(integer_value=element)
                elif kind is str:
                    add(string_value=element)
                else:
                    _fill(add(), element)
        case None:
            message.null_value = 0
        case datetime():
            elapsed = value - _EPOCH
            message.timestamp_value.seconds = elapsed.days * 86_400 + elapsed.seconds
            message.timestamp_value.nanos = elapsed.microseconds * 1_000
        case Mapping():
            message.map_value.SetInParent()
            members = message.map_value.fields
            for key, member in value.items():
                _fill(members[key], member)
        case str():  # a subclass, such as an enum
            message.string_value = value
        case int():
            message.integer_value = value
        case float():
            message.double_value = value
        case bytes():
            message.bytes_value = value
        case _:
            raise TypeError(f"expected a value that Firestore can store, got {type(value).__name__}")
