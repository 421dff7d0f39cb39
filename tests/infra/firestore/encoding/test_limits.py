"""The billed size of a document."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.embedded.firestore.encoding import limits, resource_names
from infra.embedded.firestore.errors import StatusError
from infra.embedded.firestore.messages import Document, Value

DATABASE = "projects/p/databases/(default)"
NAME = resource_names.parse_document(f"{DATABASE}/documents/c/d", DATABASE)

numbers = st.integers(-(2**63), 2**63 - 1).map(lambda number: Value(integer_value=number)) | st.floats().map(
    lambda number: Value(double_value=number)
)
others = (
    st.booleans().map(lambda value: Value(boolean_value=value))
    | st.text(max_size=20).map(lambda text: Value(string_value=text))
    | st.binary(max_size=20).map(lambda raw: Value(bytes_value=raw))
)


def size(*elements: Value) -> int:
    """Return the billed size of a document with an array, without the size of an empty array."""
    empty, document = Document(), Document()
    empty.fields["a"].array_value.SetInParent()
    document.fields["a"].array_value.values.extend(elements)
    return limits.check_document(NAME, document.fields) - limits.check_document(NAME, empty.fields)


@given(st.lists(numbers, max_size=30))
def test_each_number_in_an_array_has_eight_bytes(elements: list[Value]) -> None:
    """Also numbers whose encoding is shorter or longer."""
    assert size(*elements) == 8 * len(elements)


@given(st.lists(numbers | others, max_size=8))
def test_the_size_of_an_array_is_the_sum_of_the_sizes_of_its_elements(elements: list[Value]) -> None:
    """Arrays of numbers have a quick check, which must not take other elements for numbers."""
    assert size(*elements) == sum(map(size, elements))


@given(st.lists(numbers, max_size=8))
def test_an_array_with_an_array_or_an_empty_value_is_refused(elements: list[Value]) -> None:
    """Numbers before it do not hide it."""
    nested = Value()
    nested.array_value.SetInParent()
    for last in (nested, Value()):
        with pytest.raises(StatusError):
            size(*elements, last)
