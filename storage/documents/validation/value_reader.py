"""The values of a list, read piece by piece: its numbers, and a problem for every other value.

A value outside of a list, such as a member of an object, is decoded by the same rules. Numbers become doubles, and the
content of a list or an object is left out.
"""

import json
from math import inf, isfinite
from typing import Any, NoReturn

import orjson

from storage.documents.errors import NotJson
from storage.documents.problems import Problem, ProblemCode, echo
from storage.documents.validation import json_scanner, numbers, syntax
from storage.documents.validation.json_scanner import Span
from storage.documents.validation.validation_report import Append, ProblemCollector

_MAX_COUNTED_PROBLEMS = 1_000_000
_TYPES = {dict: "an object", list: "a list", bool: "a boolean", float: "a number", type(None): "null"}


def read_values(
    raw: bytes, contents: Span, problems: ProblemCollector, append: Append, skips_nulls: bool
) -> tuple[int, int]:
    """Add the problems of the values inside a list, and pass its numbers to `append`.

    Return the number of values, and the number of nulls that were skipped.
    """
    position = nulls = 0
    for start, end in json_scanner.pieces(raw, *contents):
        try:
            values: list[Any] = numbers.decode(raw, start, end)
        except ValueError:
            decoded = _decode_values(raw, start, end)
            if not decoded:
                raise syntax.not_json(raw, "expected a value", start) from None
            values = [value for value in decoded if value is not None] if skips_nulls else decoded
            nulls += len(decoded) - len(values)
            if _count_numbers(values) == len(values):  # a null or a long value is not decoded as a number at first
                append(values)
            elif problems.is_full:
                problems.omit(len(values) - _count_numbers(values))
                if problems.omitted > _MAX_COUNTED_PROBLEMS:
                    raise syntax.TooLong(f"expected a sample with at most {_MAX_COUNTED_PROBLEMS:,} problems") from None
            else:
                invalid_values = (
                    (index, value)
                    for index, value in enumerate(decoded, position)
                    if not (_is_number(value) or (skips_nulls and value is None))
                )
                problems.add_all(_not_a_finite_number, invalid_values)
            position += len(decoded)
        else:
            if not values:
                raise syntax.not_json(raw, "expected a value", start)
            position += len(values)
            append(values)
    if nulls == position:
        problems.add(Problem("$.data", "expected at least one number, got only nulls", ProblemCode.EMPTY))
    return position - nulls, nulls


def decode(raw: bytes, span: Span) -> object:
    """Return the value at `span`. A list or an object is returned empty."""
    match raw[span[0] : span[0] + 1]:
        case b"[":
            return []
        case b"{":
            return {}
    return _decoder.decode(raw[slice(*span)].decode())


def wrong_type(path: str, expected: str, value: object) -> Problem:
    """Return the problem of a value that is not the `expected` one."""
    if isinstance(value, str):
        actual = f"the string {echo(value)}" if value else "an empty string"
    else:
        actual = _TYPES[type(value)]
    return Problem(path, f"expected {expected}, got {actual}", ProblemCode.WRONG_TYPE)


def _not_a_finite_number(index: int, value: object) -> Problem:
    path = f"$.data[{index}]"
    if value is None:
        message = 'expected a number, got null; to leave out nulls, add the member "missing": "skip"'
        return Problem(path, message, ProblemCode.WRONG_TYPE)
    if type(value) is not float:
        return wrong_type(path, "a number", value)
    return Problem(path, "expected a number within the range of a double (±1.8e308)", ProblemCode.OUT_OF_RANGE)


def _is_number(value: object) -> bool:
    return type(value) is int or (type(value) is float and isfinite(value))


def _count_numbers(values: list[Any]) -> int:
    """Return how many of the values are finite numbers, three times as fast as with `_is_number`."""
    types = list(map(type, values))
    return types.count(int) + types.count(float) - values.count(inf) - values.count(-inf)


def _decode_values(raw: bytes, start: int, end: int) -> list[Any]:
    """Return the values of a piece that does not contain only numbers. Raises `NotJson` if the piece is not JSON."""
    if end - start > numbers.MAX_STEP_BYTES:
        return _decode_long_values(raw, start, end)
    piece = b"[%b]" % raw[start:end]
    values: list[Any]
    try:
        values = orjson.loads(piece)
    except orjson.JSONDecodeError:
        pass  # not JSON, or a number outside the range of doubles, or a lone surrogate
    else:
        return values
    try:
        text = piece.decode()
    except UnicodeDecodeError as error:
        raise syntax.not_utf8(start - 1 + error.start) from None
    try:
        values = _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise syntax.not_json(raw, error.msg, start - 1 + len(text[: error.pos].encode())) from None
    return values


def _decode_long_values(raw: bytes, start: int, end: int) -> list[object]:
    """Return the values of a piece with a long value. A long list or object is only checked, not decoded."""
    try:
        syntax.check(b"[%b]" % raw[start:end])
    except NotJson:
        syntax.check(raw)  # raises an error that says where the text is malformed
        raise
    return [decode(raw, span) for span in json_scanner.values(raw, start, end)]


def _reject_constant(name: str) -> NoReturn:
    hint = '; for a missing value, send null and the member "missing": "skip"' if name == "NaN" else ""
    raise NotJson(f"not JSON: {name} is not a JSON number{hint}")


_decoder = json.JSONDecoder(parse_int=float, parse_constant=_reject_constant)
