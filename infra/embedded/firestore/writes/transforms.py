"""Field transforms: values that the server computes, such as request times, sums and array members.

A transform is applied after the update mask and after earlier transforms. Firestore's rules are:

- The sum of integers saturates at the 64-bit limits. If an operand is a double, the sum is a double.
- If the stored number equals the operand, maximum and minimum keep the stored number.
- If the stored number or the operand is NaN, the result is NaN.
- Two array elements are equal if their encodings are equal: 1 equals 1.0.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeGuard

from infra.embedded.firestore.encoding import field_paths, limits, number_encoding, values
from infra.embedded.firestore.errors import invalid_argument
from infra.embedded.firestore.messages import Fields, FieldTransform, Value, timestamp

_MIN_INTEGER, _MAX_INTEGER = -(1 << 63), (1 << 63) - 1
_NUMBERS = ("integer_value", "double_value")


def apply(document_fields: Fields, transform: FieldTransform, commit_time: int) -> Value:
    """Apply a field transform to the fields of a document, in place. Return the transform result."""
    operation = transform.WhichOneof("transform_type")
    stored = field_paths.get(document_fields, field_paths.parse(transform.field_path))
    new, result = _OPERATIONS[operation](stored, transform, commit_time)
    field_paths.get_or_create(document_fields, field_paths.parse(transform.field_path)).CopyFrom(new)
    return result


def check_all(field_transforms: Sequence[FieldTransform]) -> int | None:
    """Raise StatusError unless the field transforms of a write are valid.

    Return the maximum billed bytes that they add to a document, or None if this depends on the document.
    """
    checked = [_check(transform) for transform in field_transforms]
    sizes = dict(checked)
    for path, following in pairwise(sorted(sizes)):  # paths that are nested in `path` follow it directly
        if following[: len(path)] == path:
            name = field_paths.to_text(path)
            raise invalid_argument(f"Cannot transform property {name} and its nested property at the same time.")
    known = {path: size for path, size in checked if size is not None}
    # A field can have several transforms: all of them must be server times.
    return None if any(size is None for _, size in checked) else sum(known.values())


def _check(transform: FieldTransform) -> tuple[field_paths.FieldPath, int | None]:
    """Return the field path of a transform, and the maximum billed bytes of a server time, or None for another kind.

    Raise StatusError if the transform is not valid.
    """
    operation, text = transform.WhichOneof("transform_type"), transform.field_path
    path = field_paths.parse(text)
    if operation == "set_to_server_value" and transform.set_to_server_value == 1:
        is_own_field = path == (text,)  # not a field of a map, and without quotes
        return path, limits.check_field_name(text) + limits.TIMESTAMP_BYTES if is_own_field else None
    if operation is None or operation == "set_to_server_value":
        raise invalid_argument(f'Field transform of "{text}" has no known operation.')
    if operation in ("increment", "maximum", "minimum"):
        operand = getattr(transform, operation)
        if operand.WhichOneof("value_type") not in _NUMBERS:
            raise invalid_argument(f'Field transform "{operation}" of "{text}" must have a numeric operand.')
    if operation in ("append_missing_elements", "remove_all_from_array"):
        for element in getattr(transform, operation).values:
            limits.check_operand(element, text)
    return path, None


def _request_time(stored: Value | None, transform: FieldTransform, commit_time: int) -> tuple[Value, Value]:
    new = Value(timestamp_value=timestamp(commit_time))
    return new, new


def _increment(stored: Value | None, transform: FieldTransform, commit_time: int) -> tuple[Value, Value]:
    operand = transform.increment
    if not _is_number(stored):
        return operand, operand
    total = _number(stored) + _number(operand)
    if isinstance(total, int):
        new = Value(integer_value=min(max(total, _MIN_INTEGER), _MAX_INTEGER))
    else:
        new = Value(double_value=total)
    return new, new


def _maximum(stored: Value | None, transform: FieldTransform, commit_time: int) -> tuple[Value, Value]:
    operand = transform.maximum
    if _is_number(stored) and _maximum_key(stored) >= _maximum_key(operand):
        return stored, stored
    return operand, operand


def _maximum_key(number: Value) -> tuple[bool, bytes]:
    """Return the sort key for a maximum. NaN sorts last here, and first in other orders."""
    encoded = values.encode(number)
    return encoded == number_encoding.NAN, encoded


def _minimum(stored: Value | None, transform: FieldTransform, commit_time: int) -> tuple[Value, Value]:
    operand = transform.minimum
    if _is_number(stored) and values.encode(stored) <= values.encode(operand):
        return stored, stored
    return operand, operand


def _append_missing(stored: Value | None, transform: FieldTransform, commit_time: int) -> tuple[Value, Value]:
    new = _array(stored)
    present = set(map(values.encode, new.array_value.values))
    for element in transform.append_missing_elements.values:
        encoded = values.encode(element)
        if encoded not in present:
            present.add(encoded)
            new.array_value.values.append(element)
    return new, Value(null_value=0)


def _remove_all(stored: Value | None, transform: FieldTransform, commit_time: int) -> tuple[Value, Value]:
    removed = set(map(values.encode, transform.remove_all_from_array.values))
    new = Value()
    new.array_value.SetInParent()
    remaining = (each for each in _array(stored).array_value.values if values.encode(each) not in removed)
    new.array_value.values.extend(remaining)
    return new, Value(null_value=0)


def _array(stored: Value | None) -> Value:
    """Return a new array with the elements of the stored array, or an empty array if `stored` is not an array."""
    new = Value()
    new.array_value.SetInParent()
    if stored is not None:
        new.array_value.values.extend(stored.array_value.values)
    return new


def _is_number(value: Value | None) -> TypeGuard[Value]:
    return value is not None and value.WhichOneof("value_type") in _NUMBERS


def _number(value: Value) -> int | float:
    number: int | float = getattr(value, value.WhichOneof("value_type"))
    return number


_OPERATIONS: dict[str, Callable[[Value | None, FieldTransform, int], tuple[Value, Value]]] = {
    "set_to_server_value": _request_time,
    "increment": _increment,
    "maximum": _maximum,
    "minimum": _minimum,
    "append_missing_elements": _append_missing,
    "remove_all_from_array": _remove_all,
}
