"""Encoded values sort in Firestore's order. Google's client has the comparator that decides."""

from collections.abc import Callable
from typing import Any

import pytest
from google.cloud.firestore_v1.order import Order
from hypothesis import example, given
from hypothesis import strategies as st

from infra.embedded.firestore.encoding import number_encoding, path_encoding, values
from infra.embedded.firestore.encoding.values import MAX_INDEXED_BYTES
from infra.embedded.firestore.messages import ArrayValue, MapValue, Value
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


large = st.one_of(
    st.integers(MAX_INDEXED_BYTES - 3, MAX_INDEXED_BYTES + 3).flatmap(
        lambda size: st.sampled_from(
            [Value(bytes_value=bytes(size)), Value(string_value="x" * size), Value(string_value="é\0" * (size // 3))]
        )
    ),
    st.integers(100, 200).map(
        lambda size: Value(array_value=ArrayValue(values=[Value(integer_value=2**53 + 1)] * size))
    ),
)
containers = st.lists(st.one_of(large, random_documents.values), max_size=4).flatmap(
    lambda parts: st.sampled_from(
        [
            Value(array_value=ArrayValue(values=parts)),
            Value(map_value=MapValue(fields={f"name {number}": part for number, part in enumerate(parts)})),
        ]
    )
)


@given(st.one_of(large, containers))
def test_an_indexed_value_is_the_truncated_encoding(value: Any) -> None:
    """The values may end before, at and after the limit, also inside of arrays and maps."""
    assert values.encode_indexed(value) == values.encode(value)[:MAX_INDEXED_BYTES]


def test_the_cost_of_an_indexed_value_does_not_depend_on_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the beginning of a large value is encoded."""
    encoded_bytes = [0]

    def count(module: Any, name: str, size: Callable[[Any], int]) -> None:
        encode = getattr(module, name)

        def encode_and_count(part: Any) -> bytes:
            encoded_bytes[0] += size(part)
            return bytes(encode(part))

        monkeypatch.setattr(module, name, encode_and_count)

    count(path_encoding, "encode_bytes", len)
    count(number_encoding, "encode_integer", lambda _: 8)
    numbers = Value(array_value=ArrayValue(values=[Value(integer_value=1)] * 10_000))

    for value in (
        Value(bytes_value=bytes(1_000_000)),
        Value(string_value="x" * 1_000_000),
        numbers,
        Value(map_value=MapValue(fields={"numbers": numbers, "text": Value(string_value="x" * 1_000_000)})),
    ):
        values.encode_indexed(value)

    assert encoded_bytes[0] < 5 * MAX_INDEXED_BYTES
