"""Values sort as bytes just as Firestore sorts them; the official client's comparator is the judge."""

from typing import Any

from google.cloud.firestore_v1.order import Order
from hypothesis import example, given

from infra.embedded.firestore.encoding import values
from infra.embedded.firestore.messages import Value
from tests.infra.firestore import random_documents as chance


def _sign(left: bytes, right: bytes) -> int:
    return (left > right) - (left < right)


@given(chance.values, chance.values)
@example(Value(integer_value=2**53 + 1), Value(double_value=2.0**53))
@example(Value(integer_value=2**63 - 1), Value(double_value=2.0**63))
@example(Value(double_value=-0.0), Value(integer_value=0))
def test_bytes_sort_as_values_do(left: Any, right: Any) -> None:
    """Comparing encoded values is comparing values, across types and for equality too."""
    assert _sign(values.encode(left), values.encode(right)) == Order.compare(left, right)


@given(chance.values, chance.values)
def test_no_value_is_the_beginning_of_another(left: Any, right: Any) -> None:
    """Encodings can follow one another in a key without a mark between them."""
    one, other = values.encode(left), values.encode(right)

    assert one == other or not other.startswith(one)


@given(chance.values, chance.values)
def test_inverted_bytes_sort_the_other_way_round(left: Any, right: Any) -> None:
    """A descending part of a key is the ascending one, inverted."""
    one, other = values.encode(left), values.encode(right)

    assert _sign(values.invert(one), values.invert(other)) == -_sign(one, other)
