"""The scalars: raw samples, vectors, JSON and times.

A sample is one scalar, because graphql-core would process each number of a list of floats twice. A client can pass a
sample as a variable or as a literal in the query. A variable reaches this module as the bytes of the request. A literal
reaches it as syntax nodes, which contain the text of each number.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from math import isinf
from typing import Any, NewType

import msgspec
import orjson
import strawberry
from graphql import (
    BooleanValueNode,
    FloatValueNode,
    GraphQLError,
    IntValueNode,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    StringValueNode,
    ValueNode,
    VariableNode,
    value_from_ast_untyped,
)
from strawberry.types.scalar import ScalarDefinition

from storage.documents import timestamps

RawSample = NewType("RawSample", bytes)
Vector = NewType("Vector", object)
JSON = NewType("JSON", bytes)

MAX_PLAIN_NUMBERS = 1_000
"""Numbers that are encoded together with the rest of the response. A response can have hundreds of such vectors."""

MAX_LITERAL_VARIABLES = 64 * 1024
"""The maximum length of the variables in a sample that is a literal. Hundreds of such literals fit into a document, and
each can contain the same variable hundreds of times.
"""

_PIECE = 10_000
"""Numbers that are encoded at a time. Encoding them takes less than a millisecond, in which no other thread runs."""


def vector(numbers: Sequence[float]) -> Vector:
    """Return numbers as a vector. Long vectors are encoded at once, so call this in a thread for them."""
    if len(numbers) <= MAX_PLAIN_NUMBERS:
        return Vector(list(numbers))
    pieces = [b"["]
    for start in range(0, len(numbers), _PIECE):
        pieces += orjson.dumps(list(numbers[start : start + _PIECE]))[1:-1], b","
    pieces[-1] = b"]"
    return Vector(orjson.Fragment(b"".join(pieces)))


def _sample_from_variable(value: object) -> RawSample:
    if isinstance(value, bytes):
        return RawSample(value)
    return RawSample(bytes(value) if isinstance(value, msgspec.Raw) else orjson.dumps(value))


def _sample_from_literal(node: ValueNode, variables: Mapping[str, Any] | None = None) -> RawSample:
    given = variables or {}
    texts: dict[str, str] = {}
    size = 0
    for name in _variables_in(node):
        if name not in texts:
            try:
                texts[name] = _json_text_of(given.get(name))
            except OverflowError:
                raise GraphQLError(
                    f"expected numbers within the range of a double (±1.8e308) - in the default value of `{name}`", node
                ) from None
        size += len(texts[name])
        if size > MAX_LITERAL_VARIABLES:
            raise GraphQLError(
                f"expected at most {MAX_LITERAL_VARIABLES:,} characters in the variables of the sample; pass the whole "
                "sample as a variable",
                node,
            )
    return RawSample(_json_text(node, given, texts).encode())


def _json_from_variable(value: object) -> object:
    return value


def _json_from_literal(node: ValueNode, variables: Mapping[str, Any] | None = None) -> object:
    """Return the default value of a variable. Raises for an enum value, which would otherwise become a string."""
    _json_text(node, {}, {})
    return value_from_ast_untyped(node, dict(variables or {}))


def _variables_in(node: ValueNode) -> Iterator[str]:
    """Yield the name of each variable in a literal, as often as it occurs."""
    match node:
        case VariableNode():
            yield node.name.value
        case ListValueNode():
            for element in node.values:
                yield from _variables_in(element)
        case ObjectValueNode():
            for member in node.fields:
                yield from _variables_in(member.value)


def _json_text(node: ValueNode, variables: Mapping[str, Any], texts: Mapping[str, str]) -> str:
    """Return a literal as JSON. `texts` has the JSON of each variable in it."""
    match node:
        case IntValueNode() | FloatValueNode():
            return node.value
        case StringValueNode():
            return json.dumps(node.value)
        case BooleanValueNode():
            return "true" if node.value else "false"
        case NullValueNode():
            return "null"
        case ListValueNode():
            return f"[{','.join(_json_text(element, variables, texts) for element in node.values)}]"
        case ObjectValueNode():
            given = [f for f in node.fields if not isinstance(f.value, VariableNode) or f.value.name.value in variables]
            members = (f"{json.dumps(f.name.value)}:{_json_text(f.value, variables, texts)}" for f in given)
            return f"{{{','.join(members)}}}"
        case VariableNode():
            return texts[node.name.value]
    raise GraphQLError("expected a JSON value in the sample, got an enum value; write text in double quotes", node)


def _json_text_of(value: object) -> str:
    """Return a value as JSON. Raises `OverflowError` for an infinite number, which orjson would encode as null."""
    match value:
        case float() if isinf(value):  # graphql-core reads 1e999 in a default value as infinity
            raise OverflowError
        case bytes():  # a raw sample
            return value.decode()
        case datetime():
            return f'"{timestamps.to_text(value)}"'
        case Enum():
            return f'"{value.name}"'
        case int() if not isinstance(value, bool):  # orjson encodes integers of up to 64 bits only
            return str(value)
        case list():
            return f"[{','.join(map(_json_text_of, value))}]"
        case dict():
            return f"{{{','.join(f'{json.dumps(name)}:{_json_text_of(member)}' for name, member in value.items())}}}"
    return orjson.dumps(value).decode()


def _instant_from_variable(value: object, node: ValueNode | None = None) -> datetime:
    if not isinstance(value, str):
        raise GraphQLError("expected a time as a string, for example 2019-05-01T10:00:00Z", node)
    try:
        return timestamps.parse(value)
    except timestamps.TimeStampError as fault:
        raise GraphQLError(str(fault), node) from fault


def _instant_from_literal(node: ValueNode, variables: Mapping[str, Any] | None = None) -> datetime:
    del variables
    return _instant_from_variable(node.value if isinstance(node, StringValueNode) else None, node)


SCALARS: dict[object, ScalarDefinition] = {
    RawSample: strawberry.scalar(
        name="RawSample",
        description=(
            "A measurement sample as a JSON object with `time_stamp` (date, time and UTC offset, for example "
            "`2019-05-01T06:00:00-04:00`) and `data` (a list of at least one number). Optional members are "
            '`labels` (an object with up to 4 names and values, for example `{"site": "zurich"}`), `missing` '
            '(`"skip"` leaves nulls out of the statistics) and `idempotency_key`. Other members are allowed. Pass the '
            "sample as a variable or as a literal. The server stores the bytes of a variable unchanged. It converts a "
            "literal to JSON, and keeps all digits of each number."
        ),
        parse_value=_sample_from_variable,
        parse_literal=_sample_from_literal,
    ),
    Vector: strawberry.scalar(
        name="Vector",
        description="A list of numbers, as one scalar value.",
        parse_value=_json_from_variable,
        parse_literal=_json_from_literal,
    ),
    JSON: strawberry.scalar(
        name="JSON",
        description="A JSON value, byte for byte as it was submitted.",
        serialize=orjson.Fragment,
        parse_value=_json_from_variable,
        parse_literal=_json_from_literal,
    ),
    datetime: strawberry.scalar(
        name="DateTime",
        description=(
            "A time in the format of RFC 3339, with a precision of one microsecond. Responses contain times in UTC, "
            "for example `2019-05-01T10:00:00Z`. Requests can contain times with any UTC offset of at most 14 hours."
        ),
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=timestamps.to_text,
        parse_value=_instant_from_variable,
        parse_literal=_instant_from_literal,
    ),
}
