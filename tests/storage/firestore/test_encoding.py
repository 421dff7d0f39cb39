"""Python values survive the conversion to protocol values and back."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.documents.stored_fields import SERVER_TIME
from storage.firestore import encoding

MAX_INTEGER = 2**63 - 1
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER - 1, MAX_INTEGER)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)).map(
        lambda time: time.replace(fold=0)
    )
)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


def with_types(value: object) -> object:
    """Return `value` with the type of each scalar, because `1 == 1.0 == True`."""
    match value:
        case dict():
            return {key: with_types(member) for key, member in value.items()}
        case list():
            return [with_types(element) for element in value]
        case _:
            return type(value), value


@given(values)
def test_a_value_is_the_same_after_encoding_and_decoding(value: object) -> None:
    """Integers remain integers and doubles remain doubles."""
    decoded = encoding.from_value(encoding.to_value(value))

    assert decoded == value
    assert with_types(decoded) == with_types(value)


def test_a_server_time_becomes_a_transform() -> None:
    """Firestore sets that field when it commits the write."""
    write = encoding.to_write("projects/p/databases/(default)/documents/a/b", {"at": SERVER_TIME, "count": 1})

    assert encoding.from_document(write.update) == {"count": 1}
    (transform,) = write.update_transforms
    assert transform.field_path == "at"
    assert transform.set_to_server_value == 1  # REQUEST_TIME


def test_other_types_are_rejected() -> None:
    """A mistake is found before the write is sent."""
    with pytest.raises(TypeError, match="expected a value that Firestore can store, got set"):
        encoding.to_value({1, 2})
