"""Hypothesis strategies for Value messages of every type. They favor equal values and edge cases."""

from typing import Any

from hypothesis import strategies as st

from infra.embedded.firestore.messages import Value

DATABASE = "projects/p/databases/(default)"

_numbers = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, 1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), -(2**53) - 1]),
).map(lambda number: Value(integer_value=number))
_doubles = st.one_of(
    st.floats(),
    st.sampled_from([0.0, -0.0, 1.0, 2.0**53, 2.0**63, -(2.0**63), float("nan"), float("inf"), 5e-324]),
).map(lambda number: Value(double_value=number))
_decimals = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str),
    st.sampled_from(["NaN", "Infinity", "-Infinity", "9007199254740993", "9007199254740992.5", "0.1", "-0"]),
)
_texts = st.one_of(st.text(max_size=4), st.sampled_from(["", "a", "a\0", "a\0b", "b", "é", "\uffff", "\U0001f600"]))
_ids = st.sampled_from(["a", "b", "a-", "__id7__", "__id-7__", "__id70__", "é"])


def _typed_map(key: str, value: Any) -> Any:
    """Return a BSON value."""
    typed_map = Value()
    typed_map.map_value.fields[key].CopyFrom(value)
    return typed_map


def _timestamp(parts: tuple[int, int]) -> Any:
    value = Value()
    value.timestamp_value.seconds, value.timestamp_value.nanos = parts[0], parts[1] * 1000
    return value


def _point(parts: tuple[float, float]) -> Any:
    value = Value()
    value.geo_point_value.latitude, value.geo_point_value.longitude = parts
    return value


def _array(elements: list[Any]) -> Any:
    value = Value()
    value.array_value.SetInParent()
    value.array_value.values.extend(elements)
    return value


def _map(fields: dict[str, Any]) -> Any:
    value = Value()
    value.map_value.SetInParent()
    for name, field in fields.items():
        value.map_value.fields[name].CopyFrom(field)
    return value


def _vector(numbers: list[float]) -> Any:
    elements = [Value(double_value=number) for number in numbers]
    return _map({"__type__": Value(string_value="__vector__"), "value": _array(elements)})


scalars = st.one_of(
    st.just(Value(null_value=0)),
    st.booleans().map(lambda boolean: Value(boolean_value=boolean)),
    _numbers,
    _doubles,
    _decimals.map(lambda text: _typed_map("__decimal128__", Value(string_value=text))),
    st.integers(-(2**31), 2**31 - 1).map(lambda number: _typed_map("__int__", Value(integer_value=number))),
    st.sampled_from(["__min__", "__max__"]).map(lambda key: _typed_map(key, Value(null_value=0))),
    st.tuples(st.integers(-(10**9), 10**9), st.integers(0, 999_999)).map(_timestamp),
    _texts.map(lambda text: Value(string_value=text)),
    st.binary(max_size=4).map(lambda raw: Value(bytes_value=raw)),
    st.binary(min_size=1, max_size=4).map(lambda raw: _typed_map("__binary__", Value(bytes_value=raw))),
    st.tuples(_ids, _ids).map(lambda ids: Value(reference_value=f"{DATABASE}/documents/{ids[0]}/{ids[1]}")),
    st.tuples(st.floats(-90, 90), st.floats(-180, 180)).map(_point),
    st.lists(st.floats(allow_nan=False), min_size=1, max_size=3).map(_vector),
)
values = st.recursive(
    scalars,
    lambda children: st.one_of(
        st.lists(children, max_size=3).map(_array),
        st.dictionaries(st.sampled_from(["a", "b", "a.b", "é"]), children, max_size=3).map(_map),
    ),
    max_leaves=6,
)
