"""The values in an index key are those of the document."""

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.encoding import path_encoding, values
from infra.embedded.firestore.queries import structured_query
from infra.embedded.firestore.queries.filters import RANGES, FieldFilter
from infra.embedded.firestore.queries.index_keys import KeyFilter, split_values
from infra.embedded.firestore.queries.planner import KeyRange
from tests.infra.firestore.queries.cases import ROOT

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


FIELDS = (("a",), ("b",), ("c",))
PREFIX = b"\x03prefix"
NAME = path_encoding.encode_path(("t", "x")) + values.END
_TEN = m.Value(integer_value=10)
_usual = st.one_of(
    st.integers(8, 12).map(lambda value: m.Value(integer_value=value)),
    st.floats(8, 12).map(lambda value: m.Value(double_value=value)),
    st.integers(8, 12).map(lambda value: m.Value(timestamp_value=datetime.fromtimestamp(value, UTC))),
)
_inexact = st.integers(2**62, 2**62 + 4).map(lambda value: m.Value(integer_value=value))
_any = st.one_of(_usual, _inexact, _scalars)
_conditions = st.lists(
    st.tuples(st.sampled_from(FIELDS[1:]), st.sampled_from(sorted(RANGES)), st.one_of(_usual, _inexact)),
    min_size=1,
    max_size=2,
)


def key_filter(conditions: Any) -> KeyFilter:
    """Return the filter of a range of keys with three values."""
    message = m.StructuredQuery()
    message.from_.add(collection_id="t")
    found = tuple(FieldFilter(field, operator, (values.encode(operand),)) for field, operator, operand in conditions)
    return KeyFilter(structured_query.read(ROOT, message), KeyRange("t", (PREFIX,), b"", b"\xff", False, found, FIELDS))


def is_skipped(tested: KeyFilter, seen: Sequence[Any], stored: Sequence[Any]) -> tuple[bool, bool]:
    """Return whether SQLite skips the key of the stored values, and whether their document matches."""
    seen_parts, parts = ([values.encode_indexed(value) for value in each] for each in (seen, stored))
    condition = tested.mismatch(seen_parts, 2**62)
    if condition is None:
        return False, tested.matches(parts)
    key = b"".join((PREFIX, *parts, NAME))
    select = f"SELECT {condition.sql} FROM (SELECT ? AS key)"
    with sqlite3.connect(":memory:") as connection:
        (skipped,) = connection.execute(select, (*condition.parameters, key)).fetchone()
    return bool(skipped), tested.matches(parts)


@settings(max_examples=500)
@given(_conditions, st.lists(_usual, min_size=3, max_size=3), st.tuples(_any, _any, _any))
def test_no_key_of_a_matching_document_is_skipped(conditions: Any, seen: list[Any], stored: Any) -> None:
    """Even if its values have other types and sizes than those of the key from which the condition is made."""
    skipped, matches = is_skipped(key_filter(conditions), seen, stored)

    assert not (skipped and matches)


@given(
    st.sampled_from(FIELDS[1:]), st.sampled_from(sorted(RANGES)), st.lists(st.integers(8, 12), min_size=3, max_size=3)
)
def test_keys_of_usual_values_are_skipped_if_they_do_not_match(field: Any, operator: str, stored: list[int]) -> None:
    """The range of the first value is not checked, because a scan reads only the keys in this range."""
    numbers = [m.Value(integer_value=value) for value in stored]

    skipped, matches = is_skipped(key_filter([(field, operator, _TEN)]), [_TEN] * 3, numbers)

    assert skipped is not matches
