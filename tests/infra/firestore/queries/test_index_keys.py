"""The values in an index key are those of the document."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.encoding import path_encoding, values
from infra.embedded.firestore.queries.index_keys import split_values

MAX_KEPT = values.MAX_INDEXED_BYTES - 1
"""The longest encoding whose end is found."""

_texts = st.one_of(st.text(), st.text("\0\x01\xff"), st.integers(1_490, 1_510).map(lambda length: "x" * length))
_scalars = st.one_of(
    st.just(m.Value(null_value=0)),
    st.booleans().map(lambda value: m.Value(boolean_value=value)),
    st.integers(-(2**63), 2**63 - 1).map(lambda value: m.Value(integer_value=value)),
    st.floats().map(lambda value: m.Value(double_value=value)),
    _texts.map(lambda value: m.Value(string_value=value)),
    _texts.map(lambda value: m.Value(bytes_value=value.encode())),
    st.integers(0, 2**32).map(lambda value: m.Value(timestamp_value=datetime.fromtimestamp(value, UTC))),
)
_paths = st.sampled_from([("s", "1", "t", "x"), ("t", "__id1__"), ("t", "\0")])


@given(st.lists(_scalars, max_size=4), _paths)
def test_a_key_is_split_into_its_values(stored: list[Any], path: tuple[str, ...]) -> None:
    """Unless a value may be truncated: where it ends is then unknown."""
    parts = [values.encode_indexed(value) for value in stored]
    name = path_encoding.encode_path(path) + values.END
    prefix = b"\x03prefix"

    key = b"".join((prefix, *parts, name))
    found = split_values(key, len(prefix), len(key) - len(name), len(parts))

    assert found == (tuple(parts) if all(len(part) <= MAX_KEPT for part in parts) else None)


def test_the_end_of_an_array_is_not_found() -> None:
    """The caller reads the document instead."""
    array = values.encode(m.Value(array_value=m.ArrayValue(values=[m.Value(integer_value=1)])))

    assert split_values(array, 0, len(array), 1) is None
