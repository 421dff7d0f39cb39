"""Encoded values sort in Firestore's order. Google's client has the comparator that decides."""

from typing import Any

from google.cloud.firestore_v1.order import Order
from hypothesis import example, given

from infra.embedded.firestore.encoding import values
from infra.embedded.firestore.messages import Value
from tests.infra.firestore import random_documents


def _sign(left: bytes, right: bytes) -> int:
    return (left > right) - (left < right)


@given(random_documents.values, random_documents.values)
@example(Value(integer_value=2**53 + 1), Value(double_value=2.0**53))
@example(Value(integer_value=2**63 - 1), Value(double_value=2.0**63))
@example(Value(double_value=-0.0), Value(integer_value=0))
def test_encoded_values_sort_like_values(left: Any, right: Any) -> None:
    """Across types, and for equality too."""
    assert _sign(values.encode(left), values.encode(right)) == Order.compare(left, right)


@given(random_documents.values, random_documents.values)
def test_no_encoded_value_is_a_prefix_of_another(left: Any, right: Any) -> None:
    """So that encodings can be concatenated into a key without separators."""
    one, other = values.encode(left), values.encode(right)

    assert one == other or not other.startswith(one)


@given(random_documents.values, random_documents.values)
def test_inverted_bytes_sort_in_the_opposite_order(left: Any, right: Any) -> None:
    """A descending part of a key is the inverted ascending part."""
    one, other = values.encode(left), values.encode(right)

    assert _sign(values.invert(one), values.invert(other)) == -_sign(one, other)
